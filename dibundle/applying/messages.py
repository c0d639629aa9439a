"""What goes wrong with applying: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

BASE_CANNOT_SERVE: Final = Message("base.cannot_serve", "base cannot serve as {wanted}: {reason}")
BASE_DAMAGED: Final = Message("base.damaged", "base is damaged: {wanted}: {reason}")
BASE_DIGEST: Final = Message(
    "base.digest",
    "base is damaged or changed while it was read: {wanted} has another digest",
    hint="check the base archive, save it again, and run the same command",
)
BASE_LACKS: Final = Message("base.lacks", "base does not hold {wanted}")
BASE_MISSING: Final = Message(
    "base.missing",
    "this bundle needs a base: {wanted} (content {content}{more})",
    hint="get the base with {save_command} and give it as an argument",
)
BASE_MISSING_LAYER: Final = Message(
    "base.missing_layer",
    "{given} does not hold what this bundle builds on: {wanted} (missing {content}{more})",
    hint=("give the bundle that makes {name} too, or the image itself, from where it is: {save_command} there"),
)
BASE_OTHER_IMAGE: Final = Message(
    "base.other_image",
    ("{given} does not hold what this bundle builds on: its {wanted} is another image, {others}, wanted {id}"),
    hint="get that one from where the bundle was made: {save_command} there",
)
BASE_RECOMPRESSED_DIFFERS: Final = Message(
    "base.recompressed_differs",
    "base does not hold {wanted}, and compressing its content again makes other bytes",
    hint="save the base in the form that the bundle was made from",
)
BASE_SEARCH_LIMIT: Final = Message("base.search_limit", "it holds more than is looked for")
BASE_SIZE: Final = Message("base.size", "base is damaged: {wanted} has {size} bytes, wanted {size_2}")
BASE_UNREADABLE: Final = Message("base.unreadable", "base cannot be read: {reason}")
CHAIN_AMBIGUOUS: Final = Message(
    "chain.ambiguous", "{ready_count} bundles can be applied and {why}: {ends}", hint="apply them one at a time"
)
CHAIN_BROKEN: Final = Message(
    "chain.broken",
    "what is here does not lead to all of the bundles: {told}",
    hint="give the base of the first of them too, or a bundle between that is missing",
)
CHAIN_UNUSED: Final = Message(
    "chain.unused",
    "what is here does not lead to all of the bundles: {told}",
    hint="leave it out if it is not needed, else give {need} too, or the bundle that makes it",
)
ENGINE_LAYER_ABSENT: Final = Message(
    "engine.layer_absent",
    "{engine} does not report layer {absent} of {id}, which would be left out",
    hint="run the command without --thin",
)
EXPECT_AMBIGUOUS: Final = Message(
    "expect.ambiguous",
    "not every reader would find the same images in what the bundle makes: {reason}",
    hint="--format docker-archive writes the expected image alone, in an archive that has one reading",
)
EXPECT_ANNOTATIONS: Final = Message(
    "expect.annotations",
    "{where} has annotations beside texts (org.opencontainers.image.*), which the digest of a config does not cover",
    hint="expect the digest of the manifest, or the archive's own",
)
EXPECT_CLAIMED_IMAGE: Final = Message(
    "expect.claimed_image", "the bundle says that it makes {named}, and makes another image"
)
EXPECT_NONE: Final = Message(
    "expect.none", "no digest is expected", hint="leave expect out, or give an image ID or a digest"
)
EXPECT_NOT_A_DIGEST: Final = Message(
    "expect.not_a_digest",
    "{found} is no image ID or digest of 64 hex digits",
    hint='"{docker} inspect --format {{{{.Id}}}} IMAGE" shows the whole ID',
)
LOAD_CLAIMED_IMAGE: Final = Message(
    "load.claimed_image",
    "the bundle says that it makes {id}, but makes {found}",
    hint="nothing was loaded; ask the sender, or say with --expect which image you want",
)
LOAD_NAMES_UNCLEAR: Final = Message(
    "load.names_unclear",
    "the policy of this machine says who signs which image, and not every engine would find the same images: {reason}",
    hint="--expect ID loads the image of that ID alone",
)
LOAD_THIN_WITHOUT_NAME: Final = Message(
    "load.thin_without_name",
    "the image has no name by which {engine} could be asked whether it has all layers",
    hint="run the command without --thin",
)
EXPECT_NOT_MADE: Final = Message("expect.not_made", "the bundle does not make {wanted}")
EXPECT_OTHER_IMAGE: Final = Message(
    "expect.other_image",
    "the bundle makes image {wrong}, wanted {map}",
    hint="ask the sender for the bundle of that image, or correct --expect",
)
EXPECT_UNCLEAR: Final = Message("expect.unclear", "cannot tell which image the bundle makes: {reason}")
FILE_CANNOT_MAKE_FOLDER: Final = Message("file.cannot_make_folder", "cannot make {folder}: {reason}")
FILE_CANNOT_WRITE: Final = Message("file.cannot_write", "cannot write {folder}: {reason}")
FILE_EXISTS: Final = Message("file.exists", "{folder} is there already", hint="name a folder that is not")
FILE_EXISTS_IN_FOLDER: Final = Message(
    "file.exists_in_folder", "{name} is there already", hint="remove it or name another folder"
)
LIMIT_MAX_SIZE: Final = Message(
    "limit.max_size",
    "bundle over a limit: it makes {size:size}, at most {max_size:size} are allowed",
    hint="allow it with --max-size {size}",
)
LIMIT_MAX_SIZE_AS_FORM: Final = Message(
    "limit.max_size_as_form",
    "bundle over a limit: in this form it makes {size:size}, at most {max_size:size} are allowed",
    hint="allow it with --max-size {size}",
)
LIMIT_SEARCHES: Final = Message(
    "limit.searches",
    "bundle over a limit: {missing_count} objects to look for in {order_count} targets",
    hint="give the base that has them",
)
LIMIT_TEMPORARY_FILES: Final = Message(
    "limit.temporary_files",
    ("bundle over a limit: it takes {kept:size} of temporary files, at most twice {max_size:size} are allowed"),
    hint="allow it with --max-size {kept_2}",
)
MANIFEST_RECOMPRESSED_CONTENT: Final = Message(
    "manifest.recompressed_content", "a form of {size} bytes takes {content_size} bytes of content"
)
OPTION_AS_ONE_IMAGE: Final = Message(
    "option.as_one_image", "--format and --thin write one image", hint="name a file, and the target with --target NAME"
)
OPTION_FORM: Final = Message(
    "option.form", "no form {name}", hint="there are docker-archive, oci-archive and oci:FOLDER"
)
TARGET_AMBIGUOUS: Final = Message(
    "target.ambiguous",
    "this bundle makes {targets_count} archives: {target_names}",
    hint="choose one of them with --target NAME",
)
TARGET_SHORT_DIGEST: Final = Message(
    "target.short_digest", "{target} is no digest: sha256: and 64 digits are wanted, fewer can be forged"
)
TARGET_UNKNOWN: Final = Message(
    "target.unknown",
    "{found_count} targets are called {target}; there are {target_names}",
    hint="sha256:... of the image or of the archive names one too",
)
VERIFY_EXPECT_WITHOUT_BASE: Final = Message(
    "verify.expect_without_base", "what the bundle makes shows in a rebuild alone", hint="give --base too"
)
