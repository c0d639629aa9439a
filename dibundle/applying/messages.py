"""Messages about applying, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

BASE_CANNOT_SERVE: Final = Message("base.cannot_serve", "base cannot provide {wanted}: {reason}")
BASE_DAMAGED: Final = Message("base.damaged", "base is damaged: {wanted}: {reason}")
BASE_DIGEST: Final = Message(
    "base.digest",
    "base is damaged, or changed while it was read: {wanted} has the wrong digest",
    hint="export the base again, and repeat the command",
)
BASE_LACKS: Final = Message("base.lacks", "base does not contain {wanted}")
BASE_MISSING: Final = Message(
    "base.missing",
    "this bundle needs a base: {wanted} (missing {content}{more})",
    hint="export the base with {save_command}, and add it to the command",
)
BASE_MISSING_LAYER: Final = Message(
    "base.missing_layer",
    "{given} does not contain the base of this bundle: {wanted} (missing {content}{more})",
    hint=("add the bundle that rebuilds {name}, or export the image on a machine that has it: {save_command}"),
)
BASE_NOT_COMPRESSED: Final = Message("base.not_compressed", "the data is neither gzip nor zstd")
BASE_OTHER_IMAGE: Final = Message(
    "base.other_image",
    (
        "{given} does not contain the base of this bundle: there, {wanted} is image {others}, but the bundle "
        "needs image {id}"
    ),
    hint="export the needed image where the bundle was created: {save_command}",
)
BASE_RECOMPRESSED_DIFFERS: Final = Message(
    "base.recompressed_differs",
    "base has only the content of {wanted}, and recompressing this content gives different bytes",
    hint="give the base in the same form as when the bundle was created",
)
BASE_SEARCH_LIMIT: Final = Message("base.search_limit", "it has too many members for dib to search")
BASE_SIZE: Final = Message("base.size", "base is damaged: {wanted} has {size} bytes, wanted {size_2}")
BASE_UNREADABLE: Final = Message("base.unreadable", "base cannot be read: {reason}")
CHAIN_AMBIGUOUS: Final = Message(
    "chain.ambiguous", "{ready_count} bundles can be applied, but {why}: {ends}", hint="apply them one at a time"
)
CHAIN_BROKEN: Final = Message(
    "chain.broken",
    "these sources lack an image that a bundle builds on: {told}",
    hint="add the base of the first bundle, or the bundle that is missing between two others",
)
CHAIN_UNUSED: Final = Message(
    "chain.unused",
    "these sources lack an image that a bundle builds on: {told}",
    hint="omit this bundle if you do not need it; otherwise, add {need}, or a bundle that rebuilds {need}",
)
ENGINE_LAYER_ABSENT: Final = Message(
    "engine.layer_absent",
    "{engine} does not report layer {absent} of {id}, so this layer cannot be left out",
    hint="repeat the command without --thin",
)
EXPECT_AMBIGUOUS: Final = Message(
    "expect.ambiguous",
    "programs could find different images in the rebuilt archive: {reason}",
    hint="write an archive of the expected image only: --format docker-archive",
)
EXPECT_ANNOTATIONS: Final = Message(
    "expect.annotations",
    "{where} has annotations other than org.opencontainers.image.*, and an image ID does not cover these annotations",
    hint="give --expect the digest of the manifest or the archive",
)
EXPECT_CLAIMED_IMAGE: Final = Message(
    "expect.claimed_image", "the bundle claims to rebuild {named}, but rebuilds another image"
)
EXPECT_NONE: Final = Message(
    "expect.none", "the set of expected digests is empty", hint="omit expect, or pass an image ID or a digest"
)
EXPECT_NOT_A_DIGEST: Final = Message(
    "expect.not_a_digest",
    "{found} is not an image ID or digest (64 hex digits)",
    hint="show the full ID: {docker} inspect --format {{{{.Id}}}} IMAGE",
)
LOAD_CLAIMED_IMAGE: Final = Message(
    "load.claimed_image",
    "the bundle claims to rebuild {id}, but rebuilds {found}",
    hint="nothing was loaded: ask the sender for a correct bundle, or name the image that you want with --expect",
)
LOAD_NAMES_UNCLEAR: Final = Message(
    "load.names_unclear",
    (
        "the policy lists the allowed signers for each image name, but engines could find different images in "
        "this archive: {reason}"
    ),
    hint="load one image only: --expect ID",
)
LOAD_MANY_NAMES: Final = Message(
    "load.many_names",
    "too many images and names to load: {count}, at most {max_names} are allowed",
    hint="write an archive and load it: dib apply --format docker-archive",
)
LOAD_WITHOUT_NAME: Final = Message(
    "load.without_name",
    "the image has no name, and {engine} does not keep images without a name",
    hint="let dib name the image by its ID: dib load --expect sha256:{id} ...",
)
LOAD_THIN_WITHOUT_NAME: Final = Message(
    "load.thin_without_name",
    "the image has no name, so {engine} cannot report whether all layers of the image are there",
    hint="repeat the command without --thin",
)
EXPECT_NOT_MADE: Final = Message("expect.not_made", "the bundle does not rebuild {wanted}")
EXPECT_OTHER_IMAGE: Final = Message(
    "expect.other_image",
    "the bundle rebuilds image {wrong}, wanted {map}",
    hint="get the bundle of that image from the sender, or correct --expect",
)
EXPECT_NAME_TWICE: Final = Message("expect.name_twice", "two expected images have the name {name!r}")
EXPECT_UNCLEAR: Final = Message("expect.unclear", "cannot determine which image the bundle rebuilds: {reason}")
FILE_CANNOT_MAKE_FOLDER: Final = Message("file.cannot_make_folder", "cannot make {folder}: {reason}")
FILE_CANNOT_WRITE: Final = Message("file.cannot_write", "cannot write {folder}: {reason}")
FILE_EXISTS: Final = Message("file.exists", "{folder} already exists", hint="choose a folder that does not exist yet")
FILE_EXISTS_IN_FOLDER: Final = Message(
    "file.exists_in_folder", "{name} already exists", hint="remove this file, or choose another folder"
)
LIMIT_MAX_SIZE: Final = Message(
    "limit.max_size",
    "bundle over a limit: the rebuilt archive has {size:size}, at most {max_size:size} are allowed",
    hint="to allow it: --max-size {size}",
)
LIMIT_MAX_SIZE_AS_FORM: Final = Message(
    "limit.max_size_as_form",
    "bundle over a limit: the archive in this format has {size:size}, at most {max_size:size} are allowed",
    hint="to allow it: --max-size {size}",
)
LIMIT_BASE: Final = Message(
    "limit.base",
    "bundle over a limit: the decompressed layers of the base have {size:size}, at most {max_base:size} are allowed",
)
LIMIT_TEMPORARY_FILES: Final = Message(
    "limit.temporary_files",
    ("bundle over a limit: it needs {kept:size} of temporary files, at most twice {max_size:size} are allowed"),
    hint="to allow it: --max-size {kept_2}",
)
MANIFEST_RECOMPRESSED_CONTENT: Final = Message(
    "manifest.recompressed_content", "a recipe uses {content_size} bytes of content, but the content has {size} bytes"
)
OPTION_AS_ONE_IMAGE: Final = Message(
    "option.as_one_image",
    "--format and --thin write a single archive, but the output is a folder",
    hint="write to a file, and choose a target with --target NAME",
)
OPTION_FORM: Final = Message(
    "option.form", "unknown format {name}", hint="choose docker-archive, oci-archive or oci:FOLDER"
)
TARGET_AMBIGUOUS: Final = Message(
    "target.ambiguous",
    "this bundle has {targets_count} targets: {target_names}",
    hint="choose one: --target NAME",
)
TARGET_SHORT_DIGEST: Final = Message(
    "target.short_digest", "{target} is not a digest: wanted sha256: and 64 hex digits (a shorter digest can be forged)"
)
TARGET_UNKNOWN: Final = Message(
    "target.unknown",
    "{found_count} targets match {target}; the targets are {target_names}",
    hint="choose a target by the digest of its image or archive: sha256:...",
)
VERIFY_EXPECT_WITHOUT_BASE: Final = Message(
    "verify.expect_without_base", "--expect needs a full rebuild", hint="add --base"
)
