"""Messages about bundles, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

BASE_CHANGED: Final = Message(
    "base.changed",
    "base is damaged, or changed while it was read: {subject} has the wrong digest {found}",
    hint="export the base again, and repeat the command",
)
BASE_HEADER_BLOCK: Final = Message("base.header_block", "base is damaged: the size in a header block cannot be read")
BUNDLE_FRAME_DIGEST: Final = Message(
    "bundle.frame_digest",
    ("bundle is damaged: frame {index}{place} does not have the digest that the manifest lists"),
    hint="fetch the bundle again",
)
BUNDLE_MANIFEST_DIGEST: Final = Message(
    "bundle.manifest_digest",
    "bundle is damaged: its manifest does not have the digest that the header lists",
    hint="fetch the bundle again",
)
BUNDLE_TRAILING_BYTES: Final = Message("bundle.trailing_bytes", "malformed bundle: bytes follow its last frame")
BUNDLE_TRUNCATED: Final = Message(
    "bundle.truncated", "truncated bundle: {subject} has {data_count} of {size} bytes", hint="fetch the bundle again"
)
BUNDLE_UNKNOWN_FEATURE: Final = Message(
    "bundle.unknown_feature",
    "bundle needs {subject} {number}, which this version of dib does not know",
    hint="use a newer dib",
)
BUNDLE_WRONG_OUTPUT: Final = Message("bundle.wrong_output", "bundle is damaged: {subject} has the wrong digest {found}")
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {name}: {reason}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {reason}")
HEADER_MAGIC: Final = Message("header.magic", "not a dib bundle: the magic bytes are missing")
HEADER_RESERVED: Final = Message("header.reserved", "malformed bundle: reserved header bytes are not zero")
HEADER_SIGNATURE_AREA_DAMAGED: Final = Message(
    "header.signature_area_damaged", "malformed bundle: the signature area is damaged"
)
HEADER_SIGNATURE_AREA_SIZE: Final = Message(
    "header.signature_area_size",
    "malformed bundle: the signature area has {length} bytes, at most {max_signature} are allowed",
)
HEADER_TEXT_MODE: Final = Message(
    "header.text_mode",
    "malformed bundle: its first bytes show that it went through a text-mode transfer",
    hint="copy the file again in binary mode",
)
HEADER_TRUNCATED: Final = Message(
    "header.truncated",
    "truncated bundle: it has {data_count} bytes, but the header alone has {header_size}",
    hint="fetch the bundle again",
)
HEADER_VERSION: Final = Message(
    "header.version",
    "bundle has format version {version}, but this dib reads version {version_2}",
    hint="use a newer dib",
)
LIMIT_COUNT: Final = Message("limit.count", "bundle over a limit: {subject}: {values}, at most {most} allowed")
LIMIT_LIVE_FRAMES: Final = Message(
    "limit.live_frames", "bundle over a limit: it keeps {most} bytes of decoded frames, at most {max_live} are allowed"
)
LIMIT_MANIFEST: Final = Message(
    "limit.manifest",
    "bundle over a limit: its manifest has {value} {subject} bytes, at most {max_manifest} are allowed",
)
LIMIT_OPEN_FRAMES: Final = Message(
    "limit.open_frames",
    ("bundle over a limit: it has {most} bytes of open frames, at most {max_open} are allowed"),
)
LIMIT_OUTLINE: Final = Message(
    "limit.outline", "bundle over a limit: more than {max_work:,} operations and edits to list"
)
LIMIT_OPERATIONS: Final = Message(
    "limit.operations", "bundle over a limit: more operations than a target of this size can need"
)
LIMIT_PLACED: Final = Message(
    "limit.placed",
    (
        "bundle over a limit: the compressed objects in target {place_target} are larger than the target, or one "
        "object decompresses to too much ({size:size})"
    ),
)
LIMIT_RANGES: Final = Message(
    "limit.ranges", "bundle over a limit: it has {sum} source ranges, at most {max_ranges} are allowed"
)
LIMIT_RECIPE: Final = Message(
    "limit.recipe", "bundle over a limit: a packing has {packing} bytes, at most {max_packing} are allowed"
)
LIMIT_RECOMPRESSED_CONTENT: Final = Message(
    "limit.recompressed_content",
    "bundle over a limit: to rebuild a target of {target_size} bytes, dib would have to compress {content} bytes",
)
LIMIT_SEGMENTS: Final = Message(
    "limit.segments", "bundle over a limit: too many segments ({segments}) or source ranges ({ranges_count})"
)
LIMIT_WORK: Final = Message(
    "limit.work",
    "bundle over a limit: decoding costs {cost} units of work for a target of {size} bytes (spec/dib.md, 4.5)",
)
LIMIT_WRITTEN_MANIFEST: Final = Message(
    "limit.written_manifest",
    (
        "the bundle would be over a limit: its manifest has {encoded_count:size}, at most {max_manifest:size} are"
        " allowed"
    ),
    hint="create one bundle for each image, or use --names none",
)
MANIFEST_COLUMN_LEFT: Final = Message(
    "manifest.column_left", "malformed bundle: column {subject} holds more numbers than are used"
)
MANIFEST_COLUMN_NOT_CANONICAL: Final = Message(
    "manifest.column_not_canonical",
    "malformed bundle: column {subject} holds a number that is too long, or not in its shortest form",
)
MANIFEST_COLUMN_NUMBER: Final = Message(
    "manifest.column_number", "malformed bundle: column {subject} ends early, or holds a number that is too large"
)
MANIFEST_COLUMN_TRUNCATED: Final = Message("manifest.column_truncated", "malformed bundle: column {subject} ends early")
MANIFEST_EMPTY_SEGMENT: Final = Message("manifest.empty_segment", "malformed bundle: it has an empty segment")
MANIFEST_FRAME: Final = Message("manifest.frame", "malformed bundle: frame {index} has the unknown {subject} {other}")
MANIFEST_FRAMES_UNUSED: Final = Message(
    "manifest.frames_unused", "malformed bundle: its targets use more or fewer frames than the bundle has"
)
MANIFEST_IMAGE_DIGEST: Final = Message(
    "manifest.image_digest", "malformed bundle: an image ID or diffID is not a SHA-256 digest"
)
MANIFEST_NAMES_END: Final = Message("manifest.names_end", "malformed bundle: a list of names does not end with NUL")
MANIFEST_OBJECT_KIND: Final = Message(
    "manifest.object_kind", "malformed bundle: a base object has a kind that does not exist in version 1"
)
MANIFEST_OBJECT_PLACE: Final = Message(
    "manifest.object_place",
    (
        "malformed bundle: an object at byte {offset} does not fit into target {place_target}, or this target "
        "does not exist"
    ),
)
MANIFEST_OBJECT_TWICE: Final = Message("manifest.object_twice", "malformed bundle: a base object is listed twice")
MANIFEST_RECOMPRESSED_OBJECT: Final = Message(
    "manifest.recompressed_object",
    "malformed bundle: it lists a form for object {number}, but this object is not a blob",
)
MANIFEST_RECOMPRESSED_ORDER: Final = Message(
    "manifest.recompressed_order", "malformed bundle: the forms of section 6 are not in ascending order"
)
MANIFEST_REQUIREMENTS_ORDER: Final = Message(
    "manifest.requirements_order", "malformed bundle: the {subject}s of section 1 are not in ascending order"
)
MANIFEST_SECTION_MISSING: Final = Message("manifest.section_missing", "malformed bundle: section {missing} is missing")
MANIFEST_SECTION_ORDER: Final = Message(
    "manifest.section_order", "malformed bundle: section {number} follows section {last}"
)
MANIFEST_SEGMENT_KIND: Final = Message(
    "manifest.segment_kind", "malformed bundle: segment kind {other} does not exist in version 1"
)
MANIFEST_SEGMENT_SUM: Final = Message(
    "manifest.segment_sum", "malformed bundle: the segments do not add up to the target's size"
)
MANIFEST_SOURCE_OUT_OF_BOUNDS: Final = Message(
    "manifest.source_out_of_bounds", "malformed bundle: a frame's source lies outside its base object"
)
MANIFEST_STRUCTURE: Final = Message("manifest.structure", "malformed bundle: {wanted} expected in {where} at byte {at}")
MANIFEST_TAIL: Final = Message("manifest.tail", "malformed bundle: the tail has {size} bytes, wanted 1 to {max_tail}")
MANIFEST_TOO_FEW: Final = Message("manifest.too_few", "malformed bundle: {subject}: {values}, at least {least} needed")
MANIFEST_UNKNOWN_SECTION: Final = Message(
    "manifest.unknown_section",
    "bundle needs section {number}, which this version of dib does not know",
    hint="use a newer dib",
)
PROGRAM_BEGIN_WITHOUT_END: Final = Message("program.begin_without_end", "malformed bundle: a packing has no end")
PROGRAM_BYTES_LEFT: Final = Message("program.bytes_left", "malformed bundle: its program leaves decoded bytes unused")
PROGRAM_EMPTY_OPERATION: Final = Message(
    "program.empty_operation", "malformed bundle: column {subject} has an operation of length 0"
)
PROGRAM_FRAME_EARLY: Final = Message("program.frame_early", "malformed bundle: frame {index} comes before it is needed")
PROGRAM_FRAME_MISSING: Final = Message(
    "program.frame_missing", "malformed bundle: its program asks for more frames than the bundle has"
)
PROGRAM_FRAME_ORDER: Final = Message(
    "program.frame_order", "malformed bundle: frame {index} is needed before frame {entered}"
)
PROGRAM_FRAMES_EXHAUSTED: Final = Message(
    "program.frames_exhausted", "malformed bundle: its program asks for more frames than the manifest lists"
)
PROGRAM_FRAMES_UNUSED: Final = Message(
    "program.frames_unused", "malformed bundle: it has frames that its program does not use"
)
PROGRAM_HEADER_BLOCK: Final = Message("program.header_block", "a header block cannot be made from its reference block")
PROGRAM_HEADER_FIELD: Final = Message(
    "program.header_field", "malformed bundle: header field {name} would get the invalid value {value}"
)
PROGRAM_MODE_CHANGES_SIZE: Final = Message(
    "program.mode_changes_size", "malformed bundle: a mode operation changes a size"
)
PROGRAM_NESTED_BEGIN: Final = Message(
    "program.nested_begin", 'malformed bundle: a "begin" within a packing, or an "end" outside a packing'
)
PROGRAM_NO_OBJECT: Final = Message(
    "program.no_object", "malformed bundle: an operation reads a base object, but the bundle has no base object"
)
PROGRAM_OUTPUT_SIZE: Final = Message(
    "program.output_size", "malformed bundle: its program makes {output} bytes, wanted {target_size}"
)
PROGRAM_PIECE_CROSSES_FRAME: Final = Message(
    "program.piece_crosses_frame", "malformed bundle: a patched piece crosses the end of frame {index}"
)
PROGRAM_READ_BEYOND_END: Final = Message(
    "program.read_beyond_end", "malformed bundle: an operation reads past the end of its base object"
)
PROGRAM_RECIPE_LONG: Final = Message(
    "program.recipe_long", "malformed bundle: a packing makes more bytes than it declares"
)
PROGRAM_RECIPE_SHORT: Final = Message(
    "program.recipe_short", "malformed bundle: a packing makes {left} bytes less than it declares"
)
PROGRAM_REGISTER: Final = Message(
    "program.register",
    "malformed bundle: it refers to register {register}, but there are only {registers} registers, numbered from 0",
)
PROGRAM_REPEAT_AHEAD: Final = Message(
    "program.repeat_ahead", "malformed bundle: a repeat reads frame {frame}, which is not decoded yet"
)
PROGRAM_REPEAT_BEYOND_END: Final = Message(
    "program.repeat_beyond_end", "malformed bundle: a repeat reads past the end of frame {frame}"
)
PROGRAM_SEEK_AFTER_SEEK: Final = Message(
    "program.seek_after_seek", "malformed bundle: a seek directly follows another seek"
)
PROGRAM_SEEK_OBJECT: Final = Message(
    "program.seek_object",
    "malformed bundle: a seek goes to base object {target}, but there are only {object_sizes_count} base objects,"
    " numbered from 0",
)
PROGRAM_SEEK_OUT_OF_BOUNDS: Final = Message(
    "program.seek_out_of_bounds", "malformed bundle: a seek goes to a place outside its base object"
)
PROGRAM_SHAPE_NUMBER: Final = Message(
    "program.shape_number",
    "malformed bundle: it refers to shape {index}, but there are only {shapes_count} shapes, numbered from 0",
)
PROGRAM_SOURCE_SIZE: Final = Message(
    "program.source_size", "malformed bundle: the source of frame {index} does not have its declared size"
)
PROGRAM_STREAM_EXHAUSTED: Final = Message(
    "program.stream_exhausted",
    "malformed bundle: its program asks for more frames of stream {stream} than the bundle has",
)
PROGRAM_TEXT_TOO_LONG: Final = Message(
    "program.text_too_long", "malformed bundle: a text does not fit into header field {name}"
)
PROGRAM_UNKNOWN_OPERATION: Final = Message(
    "program.unknown_operation", "malformed bundle: operation {op} does not exist in version 1"
)
PROGRAM_UNKNOWN_SHAPE: Final = Message(
    "program.unknown_shape", "malformed bundle: shape {shape:#x} does not exist in version 1"
)
PROGRAM_UNKNOWN_STREAM: Final = Message(
    "program.unknown_stream",
    "malformed bundle: it refers to stream {stream}, but there are only {streams} streams, numbered from 0",
)
SIGNATURE_ARMOR: Final = Message("signature.armor", "the signature is damaged: its armor is not base64")
SIGNATURE_BARE_KEY: Final = Message(
    "signature.bare_key",
    "{allowed} has no valid line for the {by} that signed the bundle",
    hint="the file has only a public key; add the signer's name before the key: echo WHO $(cat {quoted}) > signers",
)
SIGNATURE_BUNDLE_CHANGED: Final = Message("signature.bundle_changed", "the bundle changed while it was signed")
SIGNATURE_CANNOT_SIGN: Final = Message(
    "signature.cannot_sign", "ssh-keygen cannot sign with {key}: {told}", hint="give --key a private SSH key"
)
SIGNATURE_EXPIRED: Final = Message(
    "signature.expired",
    "the {by} that signed the bundle expired on {time} ({line})",
    hint=(
        "ask the sender to sign again with a valid key; if the bundle was signed before the key expired, "
        "add --verify-time {valid}"
    ),
)
SIGNATURE_KEY_EMPTY: Final = Message(
    "signature.key_empty", "the key {key} is empty", hint="give --key a private SSH key"
)
SIGNATURE_KEY_PERMISSIONS: Final = Message(
    "signature.key_permissions", "other users can read the private key {key}", hint="chmod 600 {key_2}"
)
SIGNATURE_MISSING: Final = Message(
    "signature.missing",
    "the bundle is not signed",
    hint='ask the sender to run "{dib} sign", or give --signature FILE (default: BUNDLE.sig)',
)
SIGNATURE_NAMESPACE: Final = Message(
    "signature.namespace", "the signature is for namespace {shown}, wanted {namespace}"
)
SIGNATURE_NO_SSH_KEYGEN: Final = Message(
    "signature.no_ssh_keygen",
    "ssh-keygen is not installed, but dib needs this program to make and check signatures",
    hint="apt-get install openssh-client",
)
SIGNATURE_NOT_ACCEPTED: Final = Message(
    "signature.not_accepted", "the signature by {by} is not accepted{wanted}: {told}"
)
SIGNATURE_NOT_ALLOWED: Final = Message(
    "signature.not_allowed",
    "{allowed} has no valid line for the {by} that signed the bundle",
    hint="ask the sender for the key and its owner; see ALLOWED SIGNERS in ssh-keygen(1)",
)
SIGNATURE_NOT_YET_VALID: Final = Message(
    "signature.not_yet_valid",
    "the {by} that signed the bundle is not valid before {time} ({line})",
    hint=(
        "check the clock of this machine, and --verify-time if given; if both are right, ask the sender to sign "
        "with a valid key"
    ),
)
SIGNATURE_NOT_SSHSIG: Final = Message(
    "signature.not_sshsig", "the signature is not in the format that ssh-keygen writes (armored SSHSIG)"
)
SIGNATURE_OTHER_BUNDLE: Final = Message(
    "signature.other_bundle", "the signature is not for the header of this bundle", hint="sign this file"
)
SIGNATURE_OTHER_IDENTITY: Final = Message(
    "signature.other_identity",
    "the {by} that signed the bundle does not belong to {identity}",
    hint="in {allowed}, the key belongs to {owners}; correct --identity, or get another bundle",
)
SIGNATURE_PASSPHRASE: Final = Message(
    "signature.passphrase",
    "{private} has a passphrase, but the correct passphrase was not given",
    hint="sign from a terminal, or add the key to an agent: ssh-add {private_2}",
)
SIGNATURE_PRIVATE_KEY_UNREADABLE: Final = Message(
    "signature.private_key_unreadable",
    "ssh-keygen cannot read the private key {key} ({told}); the key file {lost}",
    hint="write the file again with its line breaks: pipeline variables often lose them",
)
SIGNATURE_PRIVATE_KEY_UNUSABLE: Final = Message(
    "signature.private_key_unusable",
    "ssh-keygen cannot sign with the private key {key}: {told}",
    hint="test the key: ssh-keygen -y -f {key_2}",
)
SIGNATURE_REVOKED: Final = Message(
    "signature.revoked",
    "the {by} that signed the bundle is revoked by {revoked}",
    hint="get a bundle signed with another key",
)
SIGNATURE_SIGNERS: Final = Message(
    "signature.signers",
    "{name}: {reason}",
    hint="write lines of the form WHO KEY-TYPE KEY: see ALLOWED SIGNERS in ssh-keygen(1)",
)
SIGNATURE_TIMEOUT: Final = Message("signature.timeout", "ssh-keygen did not end within {seconds} seconds")
SIGNATURE_TOO_LARGE: Final = Message(
    "signature.too_large", "the signature has {data_count} bytes, at most {max_signature} are allowed"
)
SIGNATURE_TRAILING_BYTES: Final = Message("signature.trailing_bytes", "the signature is damaged: bytes follow its end")
SIGNATURE_TRUNCATED: Final = Message("signature.truncated", "the signature is damaged: it ends early")
SIGNATURE_VERIFY_TIME: Final = Message(
    "signature.verify_time", "{verify_time} is not a valid --verify-time", hint="use YYYYMMDD or YYYYMMDDHHMM"
)
SIGNATURE_VERSION: Final = Message("signature.version", "the signature is not an SSHSIG signature of version 1")
