"""What goes wrong with what is named as a source: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

ARCHIVE_NO_ENTRIES: Final = Message(
    "archive.no_entries", "{name} is an archive without an entry", hint='make an image archive with "{save} FILE IMAGE"'
)
BUNDLE_FILE_SIZE: Final = Message(
    "bundle.file_size", "{subject}: {name} has {size:,} bytes, wanted {size_2:,}", hint="fetch the bundle again"
)
ENGINE_CLIENT_MISSING: Final = Message(
    "engine.client_missing", "{transport_}:{reference} needs {client}, which is not installed"
)
ENGINE_LAYERS_IN_OTHER_FORM: Final = Message(
    "engine.layers_in_other_form",
    "{engine} lacks layers of {name} in the form that the image has them in",
    hint="run the command without --thin",
)
ENGINE_LOAD_FAILED: Final = Message("engine.load_failed", "{engine} load failed: {last}")
ENGINE_NO_ANSWER: Final = Message(
    "engine.no_answer", "{engine} does not answer: {client_message}", hint="try it by itself: {engine} info"
)
ENGINE_NO_IMAGE: Final = Message(
    "engine.no_image", "{client} has no image {reference}: {client_message}", hint="see what there is: {client} images"
)
ENGINE_NO_NAME: Final = Message("engine.no_name", "{transport_}: names no image", hint="for example {transport_}:app:1")
ENGINE_NO_OCI_ARCHIVE: Final = Message(
    "engine.no_oci_archive",
    "{engine} load failed: {last}",
    hint=("this docker takes no OCI archive: {dib} apply --format docker-archive OLD.tar UPDATE.dib | docker load"),
)
ENGINE_NONE: Final = Message(
    "engine.none", "no engine found: neither docker nor podman nor ctr", hint="{dib} apply OLD.tar NEW.dib -o new.tar"
)
ENGINE_NOT_THERE: Final = Message(
    "engine.not_there",
    "{engine} says that it loaded {name}, but does not have it",
    hint="look at the engine's log, then run {engine} load by hand",
)
ENGINE_NOT_THERE_IN_CTR: Final = Message(
    "engine.not_there_in_ctr", "ctr says that it loaded {wanted}, but does not have it"
)
ENGINE_OTHER_DIGEST: Final = Message(
    "engine.other_digest",
    "{engine} has {found} under {name} after loading, wanted {wanted}",
    hint="look at the log of {engine}",
)
ENGINE_OTHER_IMAGE: Final = Message("engine.other_image", "{engine} has another image under {name}: {told}")
ENGINE_PODMAN_WORKS: Final = Message(
    "engine.podman_works", "{engine} load failed: {last}", hint="podman works here: --engine podman"
)
ENGINE_SAVE_DISCARDED: Final = Message(
    "engine.save_discarded",
    "{client} could not save {reference}: {client_message}",
    hint=("containerd discards unpacked layers here: set discard_unpacked_layers = false and pull the image again"),
)
ENGINE_SAVE_FAILED: Final = Message("engine.save_failed", "{client} could not save {reference}: {client_message}")
ENGINE_SAVE_NO_PLATFORM: Final = Message(
    "engine.save_no_platform",
    "{client} could not save {reference}: {client_message}",
    hint=("this {client} saves what it has: run the command without --platform, or with docker://HOST/NAME:TAG"),
)
ENGINE_SAVED_WITHOUT_LAYERS: Final = Message(
    "engine.saved_without_layers",
    "{engine_} was saved without its layers",
    hint=("containerd discards unpacked layers here: set discard_unpacked_layers = false and pull the image again"),
)
ENGINE_THIN_LAYERS: Final = Message(
    "engine.thin_layers",
    "{engine} does not have the layers of {base}, which a thin archive is without",
    hint="run the command without --thin",
)
ENGINE_THIN_LAYERS_OF_FILE: Final = Message(
    "engine.thin_layers_of_file",
    "{engine} does not have the layers of {base}, which a thin archive is without",
    hint="run the command without --thin, or load the base first: {engine} load -i {file}",
)
ENGINE_UNKNOWN: Final = Message("engine.unknown", "no engine {name}", hint="there are docker, podman and ctr")
FILE_CANNOT_OPEN: Final = Message("file.cannot_open", "cannot open {name}: {reason}")
FILE_CANNOT_READ: Final = Message("file.cannot_read", "cannot read {name}: {reason}")
FILE_CANNOT_READ_2: Final = Message("file.cannot_read", "cannot read {names}: {reason}")
FILE_IS_IMAGE: Final = Message(
    "file.is_image", "cannot open {name}: {reason}", hint="if it is the name of an image, {give}{image}"
)
FILE_IS_URL: Final = Message(
    "file.is_url", "cannot open {name}: {reason}", hint="download it first: curl -fLO {quoted}"
)
FILE_MISSPELT: Final = Message("file.misspelt", "cannot open {name}: {reason}", hint="there is {path}")
FILE_NOT_FOUND: Final = Message(
    "file.not_found", "cannot open {name}: {reason}", hint="see what is there: ls -l {folder}"
)
IMAGE_NAME: Final = Message(
    "image.name",
    "{found} is no name for an image: [HOST/]NAME[:TAG], NAME in lower case",
    hint="for example team/app:1-2",
)
LOGIN_FILE: Final = Message(
    "login.file", "{path} is no file of logins", hint="log in again with {docker} login or podman login"
)
LOGIN_HELPER_ANSWER: Final = Message("login.helper_answer", "{program} answered with something that is no login")
LOGIN_HELPER_FAILED: Final = Message("login.helper_failed", "{program} failed: {splitlines}")
LOGIN_HELPER_MISSING: Final = Message(
    "login.helper_missing", "cannot run {program}: {reason}", hint="install it, or log in to {host} again"
)
LOGIN_HELPER_NAME: Final = Message("login.helper_name", "{helper!r} is no name of a credential helper")
LOGIN_UNREADABLE: Final = Message(
    "login.unreadable", "{path} has a login that cannot be read", hint="log in again with {docker} login"
)
OUTPUT_IS_INPUT: Final = Message(
    "output.is_input", "{name} is both input ({source}) and output", hint="name another file for the output"
)
PARTS_FIRST_MISSING: Final = Message(
    "parts.first_missing", "{missing_first}, the first part, is missing", hint="copy it beside the others, and name it"
)
PARTS_LEFT_OVER: Final = Message(
    "parts.left_over",
    "{older} is left of an older bundle: this one ends before it, at {size:,} bytes",
    hint="remove it, then those after it count no more: rm {older_2}",
)
PARTS_OLDER_LEFT: Final = Message(
    "parts.older_left", "{after} is left of an older bundle of more parts", hint="remove it and those after it"
)
PARTS_TOO_MANY: Final = Message(
    "parts.too_many", "{name} would have more than {most} parts", hint="make the parts larger"
)
PARTS_TRAILING_BYTES: Final = Message(
    "parts.trailing_bytes",
    ("malformed bundle: bytes follow its last frame: {excess}, {size:,} bytes are here, wanted {size_2:,}"),
    hint="copy what is named here again, all parts of one bundle",
)
PARTS_TRUNCATED: Final = Message(
    "parts.truncated",
    "truncated bundle: {lacking}: {sizes}",
    hint="copy what is named here again, all parts of one bundle",
)
POLICY_FILE: Final = Message(
    "policy.file",
    "cannot open {name}, which {path} names: {reason}",
    hint="put the file there, readable for everybody, or correct its name; {dib} doctor tests it",
)
POLICY_IDENTITY: Final = Message(
    "policy.identity",
    "the bundle makes {name}, and is signed by {found}: wanted {wanted} (required by {path})",
    hint="ask them to sign it, or for a bundle of theirs",
)
POLICY_INSECURE: Final = Message(
    "policy.insecure",
    "{path} requires TLS for {host}",
    hint='leave out --insecure; the key "insecure" of that file lists the registries without TLS',
)
POLICY_MALFORMED: Final = Message(
    "policy.malformed", "malformed policy: {where}: {reason}", hint="correct the file; {dib} doctor tests it"
)
POLICY_NO_SIGNERS: Final = Message(
    "policy.no_signers",
    "{path} requires a signature, but not whose: --allowed-signers is missing",
    hint='--allowed-signers FILE (or DIB_ALLOWED_SIGNERS), or the key "allowed-signers" in that file',
)
POLICY_OWNER: Final = Message(
    "policy.owner",
    "{place} belongs to user {owner}: the policy of this machine would be theirs",
    hint="chown root {quoted}",
)
POLICY_UNREADABLE: Final = Message(
    "policy.unreadable",
    "cannot read the policy of this machine, {path}: {reason}",
    hint="everybody has to be able to read it: chmod 755 /etc/dib && chmod 644 {quoted}",
)
POLICY_WRITABLE: Final = Message(
    "policy.writable",
    "others can write to {place}: the policy of this machine would be theirs",
    hint="chmod go-w {quoted}",
)
PROGRAM_CANNOT_RUN: Final = Message("program.cannot_run", "cannot run {command}: {reason}")
PROGRAM_CANNOT_RUN_2: Final = Message("program.cannot_run", "cannot run {load_}: {reason}")
PUSH_NAMES_DIGEST: Final = Message("push.names_digest", "{name} names a digest; what is pushed gets its own")
REGISTRY_ACCESS: Final = Message(
    "registry.access", "{host}/{repository} refuses access: {reason}", hint="log in first: {docker} login {host}"
)
REGISTRY_ANSWER_SIZE: Final = Message(
    "registry.answer_size", ("{host}/{repository} answers with more than the {small:size} that a document may have")
)
REGISTRY_LISTED_TOO_MUCH: Final = Message(
    "registry.listed_too_much", "{host}/{repository} lists more than is read to find a way"
)
REGISTRY_BLOB_DIGEST: Final = Message(
    "registry.blob_digest",
    ("{host}/{repository} sends other bytes than asked for: sha256:{hexdigest} instead of {wanted}"),
)
REGISTRY_BLOB_MISSING: Final = Message(
    "registry.blob_missing", "{host}/{repository} does not have a blob that it should have: status {status}"
)
REGISTRY_BLOB_TOO_LONG: Final = Message(
    "registry.blob_too_long", "{host}/{repository} sends more than the {size:,} bytes of {wanted}"
)
REGISTRY_CONFIG: Final = Message("registry.config", "{reference} is no image: its config is no JSON")
REGISTRY_DELETE_DISABLED: Final = Message(
    "registry.delete_disabled",
    "{host}/{repository} does not allow deleting: {said}",
    hint="set REGISTRY_STORAGE_DELETE_ENABLED=true for the registry, and restart it",
)
REGISTRY_DESCRIPTOR: Final = Message(
    "registry.descriptor", "{host}/{repository} has a manifest with a descriptor that cannot be read"
)
REGISTRY_DOCUMENT_SIZE: Final = Message(
    "registry.document_size", ("{host}/{repository} has a document of {size:size}, at most {size_limit:size} are taken")
)
REGISTRY_INTERRUPTED: Final = Message(
    "registry.interrupted",
    "{host}/{repository} breaks off at byte {at:,} of {size:,} of a blob: {reason}",
    hint="run the command again",
)
REGISTRY_LAYERS_NOT_OF_CONFIG: Final = Message(
    "registry.layers_not_of_config",
    (
        "{host}/{repository} has a manifest whose layers are not those of its config: is it "
        "a bundle? Then name the image that it makes"
    ),
)
REGISTRY_LISTED_BUNDLE: Final = Message(
    "registry.listed_bundle",
    ("{host}/{repository} lists a bundle that is not for this image, or is another one than it says"),
)
REGISTRY_MANIFEST_DIGEST: Final = Message(
    "registry.manifest_digest", "{host}/{repository} sends a manifest with digest {found} for {promised}"
)
REGISTRY_NEITHER_IMAGE_NOR_BUNDLE: Final = Message(
    "registry.neither_image_nor_bundle",
    ("{host}/{repository} has under {wanted} what is neither image nor bundle: {media_type!r}"),
)
REGISTRY_NO_ANSWER: Final = Message(
    "registry.no_answer", "{host}/{repository} does not answer: {reason}", hint="try again later"
)
REGISTRY_NO_HOST: Final = Message(
    "registry.no_host", "{found} does not name its registry", hint="for example docker://registry.example/team/app:1"
)
REGISTRY_NO_REPOSITORY: Final = Message(
    "registry.no_repository", "{host} has no repository {repository}", hint="look at the name again"
)
REGISTRY_NO_URLLIB3: Final = Message("registry.no_urllib3", "registries need urllib3, which is not installed")
REGISTRY_NOT_A_NAME: Final = Message(
    "registry.not_a_name", "{name} is no name in a registry", hint="for example docker://registry.example/app:1-2"
)
REGISTRY_NOT_A_NAME_2: Final = Message(
    "registry.not_a_name", "{found} is no name in a registry", hint="for example {scheme}{host}/team/app:1"
)
REGISTRY_NOT_FOUND: Final = Message(
    "registry.not_found", "{host}/{repository} has no {wanted}", hint="look at the name and the tag again"
)
REGISTRY_NOT_JSON: Final = Message("registry.not_json", "{host}/{repository} answers with something that is no JSON")
REGISTRY_PLATFORM: Final = Message(
    "registry.platform",
    "{host}/{repository} has no image for {platform}",
    hint="choose another with --platform OS/ARCH",
)
REGISTRY_RANGE: Final = Message(
    "registry.range", "{host}/{repository} answers with another range than from byte {at:,} on"
)
REGISTRY_REDIRECT_ADDRESS: Final = Message(
    "registry.redirect_address", "{host}/{repository} sends to {host_}, a {wrong} address, which is not asked"
)
REGISTRY_REDIRECT_LOCATION: Final = Message(
    "registry.redirect_location", "{host}/{repository} sends to {location!r}, which is not followed"
)
REGISTRY_REDIRECTS: Final = Message(
    "registry.redirects", "{host}/{repository} sends from one place to another, more than {redirects} times"
)
REGISTRY_REFERRERS_LOST: Final = Message(
    "registry.referrers_lost",
    "{host}/{repository} loses what is written to its list of referrers",
    hint="run the command again",
)
REGISTRY_REFUSES: Final = Message("registry.refuses", "{host}/{repository} refuses: {said}")
REGISTRY_SECONDS: Final = Message(
    "registry.seconds",
    "{name} must be more than 0 and at most {max_seconds:,} seconds, not {seconds:g}",
    hint="without --max-time there is no limit",
)
REGISTRY_SLOW: Final = Message("registry.slow", "{host}/{repository} answers too slowly")
LIMIT_CHAIN_MANIFESTS: Final = Message(
    "limit.chain_manifests",
    "bundle over a limit: with it the manifests of the chain have more than {max_manifest:size} in all",
)
LIMIT_WRAPPED_BUNDLES: Final = Message(
    "limit.wrapped_bundles",
    "{name} has more than {max_wrapped} different bundles, or {max_copies} in all, which one archive may hold",
)
LIMIT_WRAPPED_MANIFESTS: Final = Message(
    "limit.wrapped_manifests",
    "{name}: bundle over a limit: the bundles in archives have more than {max_manifest} MiB of manifests in all",
)
REGISTRY_TIME_LIMIT: Final = Message(
    "registry.time_limit",
    "{host}/{repository} has taken the {max_time:g} seconds that it may",
    hint="allow more: --max-time SECONDS",
)
REGISTRY_TOKEN: Final = Message("registry.token", "{host}/{repository} has a token server that answers with no token")
REGISTRY_TOKEN_REALM: Final = Message(
    "registry.token_realm", "{host}/{repository} names {realm!r} for tokens, which is not asked"
)
REGISTRY_UPLOAD_HOST: Final = Message(
    "registry.upload_host",
    ("{host}/{repository} wants bytes sent to {location!r}, another host than the one that was named"),
    hint="name the registry as it calls itself",
)
REGISTRY_UPLOAD_LOCATION: Final = Message(
    "registry.upload_location", "{host}/{repository} begins an upload without saying where to"
)
REGISTRY_UPLOAD_REFUSED: Final = Message("registry.upload_refused", "{host}/{repository} does not take a blob: {error}")
SOURCE_BUNDLE_NOT_ARCHIVE: Final = Message(
    "source.bundle_not_archive",
    "{name} is a bundle, an image archive is wanted here",
    hint="give the archive that it was made from, or make the new one first: {dib} apply OLD.tar {quoted} -o new.tar",
)
SOURCE_EMPTY_STREAM: Final = Message(
    "source.empty_stream",
    "a stream has nothing to read from where it stands",
    hint="what was written to it before is behind: seek(0)",
)
SOURCE_NO_BUNDLE: Final = Message(
    "source.no_bundle", "no bundle among the sources ({given})", hint="give the .dib file too"
)
SOURCE_NOT_A_BUNDLE: Final = Message(
    "source.not_a_bundle", "{name} is no bundle: {begins}", hint="a bundle is what {dib} create writes{look}"
)
SOURCE_SEVERAL_BUNDLES: Final = Message(
    "source.several_bundles", "{bundles_count} bundles given, one is wanted here", hint="give them one at a time"
)
SOURCE_STDIN_TWICE: Final = Message(
    "source.stdin_twice", "stdin can be given once", hint="save one of the two into a file"
)
WRAPPED_BUNDLE_NOT_FIRST: Final = Message(
    "wrapped.bundle_not_first", "{name} is labelled as a wrapped bundle, but its last layer does not begin with {file}"
)
WRAPPED_LAYER_MALFORMED: Final = Message(
    "wrapped.layer_malformed", "{name} is labelled as a wrapped bundle, but its last layer is none: {reason}"
)
WRAPPED_NO_BUNDLE: Final = Message(
    "wrapped.no_bundle", "{name} is labelled as a wrapped bundle, but its last layer does not hold one {file}"
)
WRAPPED_SEVERAL_ARCHIVES: Final = Message(
    "wrapped.several_archives",
    "{name} and {other} both hold bundles, and a base must not say what is made of it",
    hint="take the bundle that is meant out of its archive: dib unwrap",
)
WRAPPED_NO_LAYER: Final = Message(
    "wrapped.no_layer", "{name} is a wrapped bundle without the layer that has it", hint="save the image again"
)
