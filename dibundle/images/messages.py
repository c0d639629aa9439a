"""Messages about archives and images, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_DAMAGED_WITHOUT_MANIFEST: Final = Message(
    "archive.damaged_without_manifest",
    "{name} is not an image archive: it has no manifest.json, and {problem}",
    hint="copy or download the file again",
)
ARCHIVE_DIGEST: Final = Message(
    "archive.digest",
    "{name} has the digest sha256:{hexdigest}, which is not the expected digest",
    hint="save or download the archive again",
)
ARCHIVE_DOCUMENTS_TOTAL: Final = Message(
    "archive.documents_total", "its JSON documents exceed {made_documents} MiB in total"
)
ARCHIVE_EMPTY: Final = Message("archive.empty", "{name} is empty", hint="create an image archive: {save} FILE IMAGE")
ARCHIVE_EMPTY_MANIFEST: Final = Message(
    "archive.empty_manifest",
    "{name} is not an image archive: its manifest.json lists no image",
    hint="create an image archive: {save} FILE IMAGE",
)
ARCHIVE_FOLDER_FILES: Final = Message(
    "archive.folder_files", "{folder} has more than {most} files: too many for an OCI layout"
)
ARCHIVE_IN_A_FOLDER: Final = Message(
    "archive.in_a_folder",
    "{name} is not an image archive: its files are in a folder, not at the top level",
    hint="archive the folder's content: tar -C {folder} -cf FILE .",
)
ARCHIVE_INDEX_LEADS_NOWHERE: Final = Message(
    "archive.index_leads_nowhere",
    ("{name} is not an image archive: it contains none of the manifests in its index.json"),
    hint="export the image with its content",
)
ARCHIVE_LAYER_MISSING: Final = Message(
    "archive.layer_missing", "{names} lacks a layer, so dib cannot convert this image"
)
ARCHIVE_LAYER_NOT_OCI: Final = Message(
    "archive.layer_not_oci", "a layer is compressed with {compression}, which OCI does not allow"
)
ARCHIVE_NO_CONFIG: Final = Message("archive.no_config", "{names} has no config, so dib cannot convert this image")
ARCHIVE_NO_IMAGE: Final = Message("archive.no_image", "it has no image")
ARCHIVE_NOT_HERE: Final = Message("archive.not_here", "its metadata is here, but its content is not")
ARCHIVE_NOT_IMAGE: Final = Message("archive.not_image", "{name} is not an image archive: {reason}")
ARCHIVE_NOT_TAR: Final = Message(
    "archive.not_tar", "{name} is not a tar archive ({problem})", hint="create an image archive: {save} FILE IMAGE"
)
ARCHIVE_NOTHING_IN_IT: Final = Message(
    "archive.nothing_in_it",
    "{name} is not an image archive: it is empty",
    hint="create an image archive: {save} FILE IMAGE",
)
ARCHIVE_OTHER_TAR: Final = Message(
    "archive.other_tar",
    "{name} is not an image archive: it is a tar without manifest.json or index.json",
    hint="create an image archive: {save} FILE IMAGE",
)
ARCHIVE_PLAIN_DIRECTORY: Final = Message(
    "archive.plain_directory",
    "{name} is a directory, but not an OCI layout: it has neither oci-layout nor manifest.json",
    hint="give an image archive or an OCI layout",
)
ARCHIVE_RATIO: Final = Message(
    "archive.ratio",
    "{name}: {reason}; dib allows this only after it has found a trusted signature",
    hint="if you trust the file, decompress it first",
)
ARCHIVE_REPOSITORIES_ALONE: Final = Message(
    "archive.repositories_alone",
    ('{name} is not an image archive: it has the file "repositories", but no manifest.json and no layers'),
    hint="create an image archive: {save} FILE IMAGE",
)
ARCHIVE_ROOT_FILE_SYSTEM: Final = Message(
    "archive.root_file_system",
    ("{name} is not an image archive: it looks like the output of docker export"),
    hint='use "{save} FILE IMAGE" instead of "{docker} export"',
)
ARCHIVE_SINGLE_LAYER: Final = Message(
    "archive.single_layer",
    "{name} is not an image archive: it looks like a single layer",
    hint="give the whole archive that the layer belongs to",
)
ARCHIVE_NAMES_TOO_LONG: Final = Message(
    "archive.names_too_long", "the names of its images exceed {max_names_size:size} in total"
)
ARCHIVE_TOO_MANY_REFERENCES: Final = Message(
    "archive.too_many_references", "its documents list more than {max_references:,} layers, names and images"
)
DOCKER_CONFIG_NOT_TEXT: Final = Message("docker.config_not_text", "'{where}.Config' is not a string")
DOCKER_LAYER_NOT_TEXT: Final = Message("docker.layer_not_text", "'{where}' is not a string")
DOCKER_LAYERS_NOT_LIST: Final = Message("docker.layers_not_list", "'{where}.Layers' is not a list")
DOCKER_MANIFEST_NOT_LIST: Final = Message(
    "docker.manifest_not_list",
    "manifest.json is not a list of images",
    hint="create an image archive: {save} FILE IMAGE",
)
EXPECT_LAYER_COMPRESSION: Final = Message(
    "expect.layer_compression", "a layer has a compression that some engines cannot read ({kind})"
)
EXPECT_LAYER_MISSING: Final = Message(
    "expect.layer_missing", "layer {number} of the expected image (diffID {diff_id}) is missing"
)
EXPECT_MANIFEST: Final = Message(
    "expect.manifest", "the expected manifest is ambiguous, or its layers are not exactly the layers of its config"
)
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {name}: {system_reason}")
FILE_CANNOT_OPEN_2: Final = Message("file.cannot_open", "cannot open {path}: {reason}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {system_reason}")
HEADER_TEXT_MODE_FILE: Final = Message(
    "header.text_mode_file",
    "{name} looks like a dib bundle damaged by a text-mode transfer",
    hint="copy the file again in binary mode",
)
JSON_ARTIFACT_TYPE: Final = Message("json.artifact_type", "{where}.artifactType is not the artifact type of an image")
JSON_CONFIG_KEY: Final = Message("json.config_key", "{name}: a config must not have the key {key!r}")
JSON_PLATFORM: Final = Message(
    "json.platform", "{where} has a platform whose os, architecture or variant contains a slash"
)
JSON_DIGEST: Final = Message("json.digest", "{where} is not a sha256 digest of 64 lowercase hex digits")
JSON_INDEX_NESTED: Final = Message("json.index_nested", "{where} is nested too deeply")
JSON_KEY: Final = Message("json.key", "{where} has the key {key!r}, and programs may read this key in different ways")
JSON_KEY_TWICE: Final = Message("json.key_twice", "{where} has the key {key!r} in two spellings")
JSON_LIST_LENGTH: Final = Message("json.list_length", "{where} has {value_count} values, more than {max_list}")
JSON_MALFORMED: Final = Message("json.malformed", "{name} is not JSON: {brief}")
JSON_MEDIA_TYPE: Final = Message("json.media_type", "{name}: mediaType is {own}, but its descriptor says {media_type}")
JSON_NESTED: Final = Message("json.nested", "{name} is nested too deeply")
JSON_NO_IMAGE: Final = Message("json.no_image", "{name} lists no image")
JSON_NOT_LIST: Final = Message("json.not_list", "{where} is not a list")
JSON_NOT_OBJECT: Final = Message("json.not_object", "{where} is not an object")
JSON_NOT_STRICT: Final = Message("json.not_strict", "{name} is not strict JSON: {error}")
JSON_NOT_TEXT: Final = Message("json.not_text", "{where} is not a string")
JSON_ROOTFS_TYPE: Final = Message("json.rootfs_type", "{name}: rootfs.type is not 'layers'")
JSON_SCHEMA_VERSION: Final = Message("json.schema_version", "{name}: schemaVersion is not 2")
JSON_SIZE: Final = Message("json.size", "{where}.size is not a valid size")
JSON_SIZE_LIMIT: Final = Message(
    "json.size_limit", "{name} has {size:size}, but a JSON file may have at most {size_limit:size}"
)
JSON_START: Final = Message("json.start", "{name} does not begin with a JSON object or array")
JSON_SURROGATE: Final = Message("json.surrogate", "{name} has half of a surrogate pair")
JSON_UTF_8: Final = Message("json.utf_8", "{name} is not valid UTF-8")
PROFILE_ATTESTATION_AS_IMAGE: Final = Message(
    "profile.attestation_as_image", "{where} is an attestation that could be taken for an image"
)
PROFILE_ATTESTATION_LAYERS: Final = Message(
    "profile.attestation_layers", "{where} is an attestation with layers that are not in-toto layers"
)
PROFILE_ATTESTATION_ORDER: Final = Message(
    "profile.attestation_order", "{where} is an image, but an attestation is listed before this image"
)
PROFILE_DOCUMENT_FOLDER: Final = Message(
    "profile.document_folder", "{name} is a folder, but programs read a file of this name"
)
PROFILE_BENEATH_NO_FOLDER: Final = Message(
    "profile.beneath_no_folder", "{name!r} lies beneath {above!r}, which is not a folder"
)
PROFILE_CONFIG_TYPE: Final = Message(
    "profile.config_type", "{where} has a config of the unsupported type {media_type!r}"
)
PROFILE_DESCRIPTOR_DIGEST: Final = Message(
    "profile.descriptor_digest", "the digest of {where} differs from the digest in its descriptor"
)
PROFILE_DESCRIPTOR_SIZE: Final = Message(
    "profile.descriptor_size", "the size of {where} differs from the size in its descriptor"
)
PROFILE_DOCUMENT_SIZE: Final = Message(
    "profile.document_size", "{name!r} has {size:size}, but a JSON file may have at most {max_document:size}"
)
PROFILE_DOCUMENTS_TOTAL: Final = Message(
    "profile.documents_total",
    (
        "its documents have more than {max_documents} bytes in total; a document counts once for each reference "
        "to this document"
    ),
)
PROFILE_EXPANSION: Final = Message(
    "profile.expansion", "layers decompress to more than {max_expansion} times their sizes plus {max_excess} GiB"
)
PROFILE_FOLDER_SPELLINGS: Final = Message(
    "profile.folder_spellings",
    "a parent folder of {name!r} differs from another name in the archive only in letter case",
)
PROFILE_HALF_LAYOUT: Final = Message("profile.half_layout", "it has only one of the files oci-layout and index.json")
PROFILE_IMAGE_NAME_TWICE: Final = Message("profile.image_name_twice", "two images have the name {name!r}")
PROFILE_LAYER_COUNT: Final = Message(
    "profile.layer_count", "{where} has {names_count} layers, but its config lists {diff_ids_count}"
)
PROFILE_LAYER_DIGEST: Final = Message(
    "profile.layer_digest", "{where}: the content of layer {name!r} does not match the manifest or the config"
)
PROFILE_LAYER_SOURCE: Final = Message(
    "profile.layer_source", "{where}.LayerSources has a wrong digest or size for {name!r}"
)
PROFILE_LAYER_SOURCES: Final = Message(
    "profile.layer_sources", "{where}.LayerSources has an entry that does not describe a layer"
)
PROFILE_LAYER_TYPE: Final = Message("profile.layer_type", "{where} has a layer whose media type is not a layer type")
PROFILE_LINK: Final = Message("profile.link", "the link {name} leads to no file of the archive")
PROFILE_DOCUMENT_SPELLING: Final = Message(
    "profile.document_spelling", "the name {name} differs only in letter case from a document's name"
)
PROFILE_LAYOUT_VERSION: Final = Message("profile.layout_version", "oci-layout does not have version 1.0.0")
PROFILE_LEGACY: Final = Message("profile.legacy", "it has files in an old format of docker save, but no manifest.json")
PROFILE_MANIFEST_ABSENT: Final = Message(
    "profile.manifest_absent", "{where} is not in the archive, but an engine may already have it"
)
PROFILE_MEDIA_TYPE: Final = Message("profile.media_type", "{where} has the unsupported media type {media_type!r}")
PROFILE_NAME_TWICE: Final = Message(
    "profile.name_twice", "two members have the name {name!r} (upper and lower case count as the same)"
)
PROFILE_NO_IMAGE: Final = Message("profile.no_image", "{where} does not lead to any image in the archive")
PROFILE_NOT_REGULAR: Final = Message(
    "profile.not_regular", "its documents refer to {name!r}, but the archive has no regular file with this name"
)
PROFILE_PARENT: Final = Message(
    "profile.parent", "manifest.json has an image whose parent is not another image in manifest.json"
)
PROFILE_PLATFORM: Final = Message(
    "profile.platform", "the platform of {where} is {platform} in the descriptor, but {platform_2} in the config"
)
PROFILE_TWO_IMAGES: Final = Message("profile.two_images", "manifest.json and index.json lead to different images")
SOURCE_BUNDLE_NOT_ARCHIVE: Final = Message(
    "source.bundle_not_archive",
    "{name} is a dib bundle, not an image archive",
    hint="rebuild the image archive first: {dib} apply BASE {name_2} -o target.tar",
)
SOURCE_COMPRESSED_BUNDLE: Final = Message(
    "source.compressed_bundle", "{name} is a bundle compressed with {packed}", hint="decompress it first"
)
SOURCE_JSON: Final = Message(
    "source.json", "{name} is JSON, not an archive", hint="create an image archive: {save} FILE IMAGE"
)
SOURCE_SIGNATURE: Final = Message(
    "source.signature",
    "{name} is a signature, not an archive or a bundle",
    hint="give the signature with --signature {name_2}",
)
SOURCE_SQUASHFS: Final = Message(
    "source.squashfs",
    "{name} is a squashfs file system, not an image archive",
    hint="create an image archive: {save} FILE IMAGE",
)
SOURCE_WEB_PAGE: Final = Message(
    "source.web_page",
    "{name} is a web page, not an archive",
    hint="open the file in a browser (the file may be an error page or a login page), then download again",
)
SOURCE_ZIP: Final = Message(
    "source.zip", "{name} is a zip file, not a tar archive", hint="extract it, and use the archive inside"
)
TAR_CHECKSUM: Final = Message("tar.checksum", "the header at byte {at} has a wrong checksum")
TAR_LINK_SIZE: Final = Message("tar.link_size", "a link or folder at byte {at} has a size other than 0")
TAR_MAGIC: Final = Message("tar.magic", "the header at byte {at} is neither a ustar nor a GNU tar header")
TAR_MEMBER_SIZE: Final = Message("tar.member_size", "the header at byte {at} has a size in an unusual form")
TAR_MEMBERS: Final = Message("tar.members", "it has over {most} members and folders")
TAR_MODE: Final = Message("tar.mode", "the header at byte {at} has a mode whose file type differs from its type flag")
TAR_NO_LINK: Final = Message("tar.no_link", "the header at byte {at} has a link target, but is not a link")
TAR_NAME: Final = Message("tar.name", "the name {name!r} is not a plain relative path")
TAR_NAME_END: Final = Message("tar.name_end", "other bytes follow the NUL at the end of the name {name!r}")
TAR_NUMBER: Final = Message("tar.number", "the header at byte {at} has a number in an unusual form")
TAR_PAX_FIRST: Final = Message("tar.pax_first", "a PAX header comes before the member")
TAR_PAX_KEY: Final = Message("tar.pax_key", "the PAX header at byte {at} has the unsupported key {found!r}")
TAR_PAX_MALFORMED: Final = Message("tar.pax_malformed", "the PAX header at byte {at} is malformed")
TAR_PAX_SIZE: Final = Message(
    "tar.pax_size", "the size in a PAX header differs from the size of the member at byte {at}"
)
TAR_PAX_NAME: Final = Message("tar.pax_name", "the name of the PAX header at byte {at} is not printable ASCII")
TAR_PAX_TWICE: Final = Message(
    "tar.pax_twice", "the PAX header at byte {at} is too large, or is the second PAX header of its member"
)
TAR_PREFIX: Final = Message("tar.prefix", "the name {name!r} has a prefix that some readers do not accept")
TAR_SIZE: Final = Message("tar.size", "its size, {size} bytes, is not a multiple of {block}")
TAR_TRAILING_DATA: Final = Message("tar.trailing_data", "other data follows the end of the archive")
TAR_TRUNCATED: Final = Message("tar.truncated", "it is cut short")
TAR_TYPE: Final = Message("tar.type", "the header at byte {at} has the unsupported type flag {chr!r}")
