"""Messages about sources. Each message has its error code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_NO_ENTRIES: Final = Message(
    "archive.no_entries", "{name} is an empty archive", hint="create an image archive: {save} FILE IMAGE"
)
BUNDLE_FILE_SIZE: Final = Message(
    "bundle.file_size", "{subject}: {name} has {size:,} bytes, wanted {size_2:,}", hint="fetch the bundle again"
)
ENGINE_CLIENT_MISSING: Final = Message(
    "engine.client_missing", "{transport_}:{reference} needs {client}, which is not installed"
)
ENGINE_LAYERS_IN_OTHER_FORM: Final = Message(
    "engine.layers_in_other_form",
    "{engine} lacks layers of {name} in the compression that the image uses",
    hint="repeat the command without --thin",
)
ENGINE_LOAD_FAILED: Final = Message("engine.load_failed", "{engine} load failed: {last}")
ENGINE_NO_ANSWER: Final = Message(
    "engine.no_answer", "{engine} does not answer: {client_message}", hint="test the engine: {engine} info"
)
ENGINE_NO_IMAGE: Final = Message(
    "engine.no_image", "{client} has no image {reference}: {client_message}", hint="list the images: {client} images"
)
ENGINE_NO_NAME: Final = Message(
    "engine.no_name", "an image name is missing after {transport_}:", hint="for example {transport_}:app:1"
)
ENGINE_NO_OCI_ARCHIVE: Final = Message(
    "engine.no_oci_archive",
    "{engine} load failed: {last}",
    hint=("this docker cannot load OCI archives: {dib} apply --format docker-archive OLD.tar UPDATE.dib | docker load"),
)
ENGINE_NONE: Final = Message(
    "engine.none",
    "no engine found: docker, podman and ctr are not installed",
    hint="{dib} apply OLD.tar NEW.dib -o new.tar",
)
ENGINE_NOT_THERE: Final = Message(
    "engine.not_there",
    "{engine} reported success, but does not have {name}",
    hint="read the engine's log, then try {engine} load by hand",
)
ENGINE_NOT_THERE_IN_CTR: Final = Message("engine.not_there_in_ctr", "ctr reported success, but does not have {wanted}")
ENGINE_OTHER_DIGEST: Final = Message(
    "engine.other_digest",
    "after loading, {engine} has {found} under the name {name}, wanted {wanted}",
    hint="read the log of {engine}",
)
ENGINE_OTHER_IMAGE: Final = Message("engine.other_image", "{engine} has another image under the name {name}: {told}")
ENGINE_PODMAN_WORKS: Final = Message(
    "engine.podman_works", "{engine} load failed: {last}", hint="use podman, which works here: --engine podman"
)
ENGINE_SAVE_DISCARDED: Final = Message(
    "engine.save_discarded",
    "{client} could not save {reference}: {client_message}",
    hint=(
        "containerd discards unpacked layers on this machine: set discard_unpacked_layers = false and pull the"
        " image again"
    ),
)
ENGINE_SAVE_FAILED: Final = Message("engine.save_failed", "{client} could not save {reference}: {client_message}")
ENGINE_SAVE_NO_PLATFORM: Final = Message(
    "engine.save_no_platform",
    "{client} could not save {reference}: {client_message}",
    hint=(
        "this {client} cannot save with --platform: repeat the command without --platform, or use"
        " docker://HOST/NAME:TAG as the source"
    ),
)
ENGINE_SAVED_WITHOUT_LAYERS: Final = Message(
    "engine.saved_without_layers",
    "{engine_} exported the image without its layers",
    hint=(
        "containerd discards unpacked layers on this machine: set discard_unpacked_layers = false and pull the"
        " image again"
    ),
)
ENGINE_THIN_LAYERS: Final = Message(
    "engine.thin_layers",
    "a thin archive leaves out the layers of {base}, but {engine} does not have these layers",
    hint="repeat the command without --thin",
)
ENGINE_THIN_LAYERS_OF_FILE: Final = Message(
    "engine.thin_layers_of_file",
    "a thin archive leaves out the layers of {base}, but {engine} does not have these layers",
    hint="repeat the command without --thin, or load the base first: {engine} load -i {file}",
)
ENGINE_UNKNOWN: Final = Message("engine.unknown", "unknown engine {name}", hint="choose docker, podman or ctr")
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {name}: {reason}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {reason}")
FILE_CANNOT_READ_2: Final = Message("file.cannot_read", "cannot read {names}: {reason}")
FILE_IS_IMAGE: Final = Message(
    "file.is_image", "cannot open {name}: {reason}", hint="if this is the name of an image, {give}{image}"
)
FILE_IS_URL: Final = Message(
    "file.is_url", "cannot open {name}: {reason}", hint="download the file first: curl -fLO {quoted}"
)
FILE_MISSPELT: Final = Message("file.misspelt", "cannot open {name}: {reason}", hint="did you mean {path}?")
FILE_NOT_FOUND: Final = Message(
    "file.not_found", "cannot open {name}: {reason}", hint="list the folder: ls -l {folder}"
)
IMAGE_NAME: Final = Message(
    "image.name",
    "{found} is not a valid image name: wanted [HOST/]NAME[:TAG] with NAME in lower case",
    hint="for example team/app:1-2",
)
LOGIN_FILE: Final = Message(
    "login.file", "{path} is not a valid login file", hint="log in again with {docker} login or podman login"
)
LOGIN_HELPER_ANSWER: Final = Message("login.helper_answer", "the output of {program} is not a login")
LOGIN_HELPER_FAILED: Final = Message("login.helper_failed", "{program} failed: {splitlines}")
LOGIN_HELPER_MISSING: Final = Message(
    "login.helper_missing", "cannot run {program}: {reason}", hint="install this program, or log in to {host} again"
)
LOGIN_HELPER_NAME: Final = Message("login.helper_name", "{helper!r} is not a valid name of a credential helper")
LOGIN_UNREADABLE: Final = Message(
    "login.unreadable", "{path} has a login that cannot be read", hint="log in again with {docker} login"
)
OUTPUT_IS_INPUT: Final = Message(
    "output.is_input", "{name} is both input ({source}) and output", hint="choose another output file"
)
PARTS_FIRST_MISSING: Final = Message(
    "parts.first_missing",
    "the first part is missing: {missing_first}",
    hint="copy it to the folder of the other parts, and give the name of the first part",
)
PARTS_LEFT_OVER: Final = Message(
    "parts.left_over",
    "{older} belongs to an older bundle: this bundle of {size:,} bytes is complete without this file",
    hint="remove this file (later parts are then ignored): rm {older_2}",
)
PARTS_OLDER_LEFT: Final = Message(
    "parts.older_left",
    "{after} belongs to an older bundle with more parts",
    hint="remove this file and all later parts",
)
PARTS_TOO_MANY: Final = Message(
    "parts.too_many", "{name} would have more than {most} parts", hint="make the parts larger"
)
PARTS_TRAILING_BYTES: Final = Message(
    "parts.trailing_bytes",
    ("malformed bundle: bytes follow its last frame: found {size:,} bytes, wanted {size_2:,} ({excess})"),
    hint="copy these parts again, all from the same bundle",
)
PARTS_TRUNCATED: Final = Message(
    "parts.truncated",
    "truncated bundle: {lacking}: {sizes}",
    hint="copy these parts again, all from the same bundle",
)
POLICY_FILE: Final = Message(
    "policy.file",
    "cannot open {name}, a file that is named in {path}: {reason}",
    hint=(
        "make sure that the file exists and that all users can read it, or correct the name in the policy; then "
        "run {dib} doctor"
    ),
)
POLICY_IDENTITY: Final = Message(
    "policy.identity",
    "the bundle rebuilds {name}, but is signed by {found}; {path} requires a signature by {wanted}",
    hint="get a bundle with that signature",
)
POLICY_INSECURE: Final = Message(
    "policy.insecure",
    "{path} requires TLS for {host}",
    hint='omit --insecure, or add the registry to the key "insecure" of the policy',
)
POLICY_MALFORMED: Final = Message(
    "policy.malformed", "malformed policy: {where}: {reason}", hint="correct the file, then run {dib} doctor"
)
POLICY_NO_SIGNERS: Final = Message(
    "policy.no_signers",
    "{path} requires a signature, but no signers are configured",
    hint='give --allowed-signers FILE, set DIB_ALLOWED_SIGNERS, or add the key "allowed-signers" to the policy',
)
POLICY_OWNER: Final = Message(
    "policy.owner",
    "{place} belongs to user {owner}, who could change the policy",
    hint="chown root {quoted}",
)
POLICY_UNREADABLE: Final = Message(
    "policy.unreadable",
    "cannot read the policy of this machine, {path}: {reason}",
    hint="make the policy readable for all users: chmod 755 /etc/dib && chmod 644 {quoted}",
)
POLICY_WRITABLE: Final = Message(
    "policy.writable",
    "other users can write to {place}, and so could change the policy",
    hint="chmod go-w {quoted}",
)
PROGRAM_CANNOT_RUN: Final = Message("program.cannot_run", "cannot run {command}: {reason}")
PROGRAM_CANNOT_RUN_2: Final = Message("program.cannot_run", "cannot run {load_}: {reason}")
PUSH_NAMES_DIGEST: Final = Message(
    "push.names_digest", "{name} contains a digest, but the registry computes the digest of a pushed bundle"
)
REGISTRY_ACCESS: Final = Message(
    "registry.access", "{host}/{repository} refuses access: {reason}", hint="log in first: {docker} login {host}"
)
REGISTRY_ANSWER_SIZE: Final = Message(
    "registry.answer_size", ("{host}/{repository} sends a document of more than {small:size}")
)
REGISTRY_LISTED_TOO_MUCH: Final = Message("registry.listed_too_much", "{host}/{repository} lists too many bundles")
REGISTRY_BLOB_DIGEST: Final = Message(
    "registry.blob_digest",
    ("{host}/{repository} sends a wrong blob: sha256:{hexdigest} instead of {wanted}"),
)
REGISTRY_BLOB_MISSING: Final = Message(
    "registry.blob_missing", "{host}/{repository} lacks a blob of the image: status {status}"
)
REGISTRY_BLOB_TOO_LONG: Final = Message(
    "registry.blob_too_long", "{host}/{repository} sends more than the {size:,} bytes of {wanted}"
)
REGISTRY_CONFIG: Final = Message("registry.config", "{reference} is not an image: its config is not JSON")
REGISTRY_DELETE_DISABLED: Final = Message(
    "registry.delete_disabled",
    "{host}/{repository} does not allow deletion: {said}",
    hint="set REGISTRY_STORAGE_DELETE_ENABLED=true for the registry, and restart it",
)
REGISTRY_DESCRIPTOR: Final = Message(
    "registry.descriptor", "{host}/{repository} has a manifest with a malformed descriptor"
)
REGISTRY_DOCUMENT_SIZE: Final = Message(
    "registry.document_size",
    ("{host}/{repository} has a document of {size:size}, at most {size_limit:size} are allowed"),
)
REGISTRY_INTERRUPTED: Final = Message(
    "registry.interrupted",
    "{host}/{repository} closed the connection after {at:,} of the {size:,} bytes of a blob: {reason}",
    hint="repeat the command",
)
REGISTRY_LAYERS_NOT_OF_CONFIG: Final = Message(
    "registry.layers_not_of_config",
    ("{host}/{repository} has a manifest whose layers do not match its config (is the manifest a bundle?)"),
)
REGISTRY_MANY_LAYERS: Final = Message(
    "registry.many_layers",
    "{host}/{repository} has an image with {layers_count} layers, at most {max_list} are allowed",
)
REGISTRY_LISTED_BUNDLE: Final = Message(
    "registry.listed_bundle",
    ("{host}/{repository} lists a bundle for another image, or with wrong metadata"),
)
REGISTRY_MANIFEST_DIGEST: Final = Message(
    "registry.manifest_digest", "{host}/{repository} sends a manifest with digest {found} for {promised}"
)
REGISTRY_NEITHER_IMAGE_NOR_BUNDLE: Final = Message(
    "registry.neither_image_nor_bundle",
    ("{wanted} in {host}/{repository} is neither an image nor a bundle: its media type is {media_type!r}"),
)
REGISTRY_NO_ANSWER: Final = Message(
    "registry.no_answer", "{host}/{repository} does not answer: {reason}", hint="try again later"
)
REGISTRY_NO_HOST: Final = Message(
    "registry.no_host", "{found} does not name a registry", hint="for example docker://registry.example/team/app:1"
)
REGISTRY_NO_REPOSITORY: Final = Message(
    "registry.no_repository", "{host} has no repository {repository}", hint="check the name"
)
REGISTRY_NO_URLLIB3: Final = Message("registry.no_urllib3", "registries need urllib3, which is not installed")
REGISTRY_NOT_A_NAME: Final = Message(
    "registry.not_a_name",
    "{name} is not a reference in a registry",
    hint="for example docker://registry.example/app:1-2",
)
REGISTRY_NOT_A_NAME_2: Final = Message(
    "registry.not_a_name", "{found} is not a reference in a registry", hint="for example {scheme}{host}/team/app:1"
)
REGISTRY_NOT_FOUND: Final = Message(
    "registry.not_found", "{host}/{repository} has no {wanted}", hint="check the name and the tag"
)
REGISTRY_TOO_MANY_VALUES: Final = Message(
    "registry.too_many_values", "{host}/{repository} sent a document with more than {most} values"
)
REGISTRY_NOT_JSON: Final = Message("registry.not_json", "the answer of {host}/{repository} is not JSON")
REGISTRY_PLATFORM: Final = Message(
    "registry.platform",
    "{host}/{repository} has no image for {platform}",
    hint="choose another platform: --platform OS/ARCH",
)
REGISTRY_RANGE: Final = Message(
    "registry.range", "{host}/{repository} does not send the requested range from byte {at:,}"
)
REGISTRY_REDIRECT_ADDRESS: Final = Message(
    "registry.redirect_address", "{host}/{repository} redirects to {host_}, but dib refuses a {wrong} address"
)
REGISTRY_REDIRECT_LOCATION: Final = Message(
    "registry.redirect_location", "{host}/{repository} redirects to {location!r}, but dib refuses to follow"
)
REGISTRY_REDIRECTS: Final = Message("registry.redirects", "{host}/{repository} redirects more than {redirects} times")
REGISTRY_REFERRERS_LOST: Final = Message(
    "registry.referrers_lost",
    "{host}/{repository} does not keep changes to its list of referrers",
    hint="repeat the command",
)
REGISTRY_REFUSES: Final = Message("registry.refuses", "{host}/{repository} refuses the request: {said}")
REGISTRY_SECONDS: Final = Message(
    "registry.seconds",
    "{name} must be more than 0 and at most {max_seconds:,} seconds, not {seconds:g}",
    hint="omit --max-time for no limit",
)
REGISTRY_SLOW: Final = Message("registry.slow", "{host}/{repository} answers too slowly")
LIMIT_CHAIN_MANIFESTS: Final = Message(
    "limit.chain_manifests",
    "bundle over a limit: the manifests of the chain exceed {max_manifest:size} in total",
)
LIMIT_WRAPPED_BUNDLES: Final = Message(
    "limit.wrapped_bundles",
    (
        "{name} has too many bundles: at most {max_wrapped} different bundles, and {max_copies} bundles in "
        "total, are allowed"
    ),
)
LIMIT_WRAPPED_MANIFESTS: Final = Message(
    "limit.wrapped_manifests",
    "{name}: bundle over a limit: the manifests of the bundles in archives exceed {max_manifest} MiB in total",
)
REGISTRY_TIME_LIMIT: Final = Message(
    "registry.time_limit",
    "{host}/{repository} took longer than {max_time:g} seconds",
    hint="allow more time: --max-time SECONDS",
)
REGISTRY_TOKEN: Final = Message("registry.token", "the token server of {host}/{repository} sent no token")
REGISTRY_TOKEN_REALM: Final = Message(
    "registry.token_realm", "{host}/{repository} names the token server {realm!r}, but dib refuses this address"
)
REGISTRY_UPLOAD_HOST: Final = Message(
    "registry.upload_host",
    ("{host}/{repository} redirects the upload to another host: {location!r}"),
    hint="use the registry's own host name",
)
REGISTRY_UPLOAD_LOCATION: Final = Message(
    "registry.upload_location", "{host}/{repository} accepts an upload, but sends no location for the upload"
)
REGISTRY_UPLOAD_REFUSED: Final = Message("registry.upload_refused", "{host}/{repository} refuses a blob: {error}")
SOURCE_BUNDLE_NOT_ARCHIVE: Final = Message(
    "source.bundle_not_archive",
    "{name} is a bundle, wanted an image archive",
    hint="rebuild the image archive first: {dib} apply OLD.tar {quoted} -o new.tar",
)
SOURCE_EMPTY_STREAM: Final = Message(
    "source.empty_stream",
    "a source stream is already at its end",
    hint="rewind the stream: seek(0)",
)
SOURCE_NO_BUNDLE: Final = Message("source.no_bundle", "no bundle among the sources ({given})", hint="add the .dib file")
SOURCE_NOT_A_BUNDLE: Final = Message(
    "source.not_a_bundle", "{name} is not a bundle: {begins}", hint="create one with {dib} create{look}"
)
SOURCE_SEVERAL_BUNDLES: Final = Message(
    "source.several_bundles", "{bundles_count} bundles given, wanted one", hint="give them one at a time"
)
SOURCE_STDIN_TWICE: Final = Message(
    "source.stdin_twice", "stdin can be used only once", hint="save one of the inputs to a file"
)
WRAPPED_BUNDLE_NOT_FIRST: Final = Message(
    "wrapped.bundle_not_first", "{name} is labelled as a wrapped bundle, but its last layer does not begin with {file}"
)
WRAPPED_LAYER_MALFORMED: Final = Message(
    "wrapped.layer_malformed", "{name} is labelled as a wrapped bundle, but its last layer is malformed: {reason}"
)
WRAPPED_NO_BUNDLE: Final = Message(
    "wrapped.no_bundle",
    "{name} is labelled as a wrapped bundle, but its last layer does not contain exactly one {file}",
)
WRAPPED_SEVERAL_ARCHIVES: Final = Message(
    "wrapped.several_archives",
    "{name} and {other} both contain bundles, so it is unclear which one to apply",
    hint="extract the right bundle first: dib unwrap",
)
WRAPPED_NO_LAYER: Final = Message(
    "wrapped.no_layer", "{name} is a wrapped bundle, but its layer is missing", hint="export the image again"
)
