"""What goes wrong with the command line: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

BASE_EARLIER_TARGET_NAMED: Final = Message(
    "base.earlier_target_named",
    "{target_name} builds on a target before it",
    hint="make that one with {dib} apply and give it as --base too",
)
DOCKERFILE_ENVIRONMENT_OPTION: Final = Message(
    "dockerfile.environment_option",
    "{envvar} is set, and --dockerfile takes no {opts}",
    hint="for a build that checks no signature: {unset}{command_path} ...",
)
DOCKERFILE_MISSING: Final = Message(
    "dockerfile.missing", "--image and --secret are for a build", hint="give --dockerfile too"
)
DOCKERFILE_OPTION: Final = Message("dockerfile.option", "--dockerfile takes no {opts}", hint="{command_path} --help")
EXPECT_REGISTRY_IMAGE: Final = Message("expect.registry_image", "{name} is {id}, which is not what is expected")
LEVEL_UNKNOWN: Final = Message("level.unknown", "no level {word}", hint="-1 is fast, -9 is small")
MERGE_ONE_BUNDLE: Final = Message(
    "merge.one_bundle",
    "{bundles_count} given, merging takes two or more",
    hint="{dib} merge V1.tar V1-V2.dib V2-V3.dib -o V1-V3.dib",
)
OPTION_ARGUMENT_COUNT: Final = Message("option.argument_count", "{archives_count}, wanted {shape}")
OPTION_AS_ONE_IMAGE: Final = Message(
    "option.as_one_image", "--as and --thin write one image", hint="name a file, and the target with --target NAME"
)
OPTION_FORM: Final = Message(
    "option.form", "no form {name}", hint="there are docker-archive, oci-archive and oci:FOLDER"
)
OPTION_JSON_AND_STDOUT: Final = Message("option.json_and_stdout", "--json and the data cannot both go to stdout")
OPTION_NO_ARCHIVES: Final = Message("option.no_archives", "no archives given")
OPTION_NO_BASE_AND_BASE: Final = Message("option.no_base_and_base", "--no-base and --base exclude each other")
OPTION_OUTPUT_IS_REGISTRY: Final = Message(
    "option.output_is_registry", "a bundle is written into a file, then pushed", hint="{dib} push update.{dib} {out}"
)
OPTION_SHELL: Final = Message("option.shell", "no completion for {shell}", hint="{dib} completion bash")
OPTION_SPLIT_SIZE: Final = Message(
    "option.split_size", "--split {found} is no size: a number of bytes, K, M or G", hint="for example --split 3900M"
)
OPTION_SPLIT_TO_STDOUT: Final = Message(
    "option.split_to_stdout", "--split writes several files, stdout takes one bundle whole"
)
OPTION_SPLIT_TOO_SMALL: Final = Message(
    "option.split_too_small",
    "--split {found} is no size of {least_part:,} bytes (64K) or more",
    hint="for example --split 3900M",
)
OUTPUT_EXISTS: Final = Message(
    "output.exists", "{path} is there already", hint="name a folder that is empty or not there: --keep DIR"
)
OUTPUT_FOLDER_IS_FILE: Final = Message("output.folder_is_file", "{folder} is a file", hint="name a folder: --keep DIR")
OUTPUT_IS_ARCHIVE: Final = Message(
    "output.is_archive",
    "{out} is there already, and a tar archive: a bundle is not put in its place",
    hint="name another file for the bundle, the last argument",
)
PUSH_NO_NAME: Final = Message(
    "push.no_name", "then the bundle needs a name of its own", hint="{dib} push {bundle} {name}"
)
PUSH_SUBJECT: Final = Message(
    "push.subject", "{wanted} is not the image that {bundle} makes", hint="push the image that it makes first"
)
PUSH_TAG_IS_IMAGE: Final = Message(
    "push.tag_is_image",
    "{reference} is an image: a bundle is not put in its place",
    hint="give the bundle another tag: {dib} push {bundle} {free}",
)
REGISTRY_NOT_A_NAME: Final = Message(
    "registry.not_a_name", "{name} is no name in a registry", hint="for example docker://registry.example/app:1-2"
)
REGISTRY_NOT_A_NAME_2: Final = Message(
    "registry.not_a_name", "{name} is no name in a registry", hint="for example docker://registry.example/app:2"
)
REGISTRY_OTHER_IMAGE: Final = Message("registry.other_image", "{name} leads to another image: {reason}")
REGISTRY_TOO_LARGE: Final = Message(
    "registry.too_large",
    "{name} takes {size} bytes to fetch, at most {max_size} are allowed",
    hint="allow it with --max-size {size}",
)
SIGN_DETACHED_IN_REGISTRY: Final = Message(
    "sign.detached_in_registry",
    "{bundle} is in a registry, where its signature has no place beside it",
    hint="name a file for it: {again}",
)
SIGN_IN_REGISTRY: Final = Message(
    "sign.in_registry",
    "{bundle} is in a registry, where a bundle is not signed",
    hint=(
        "pull it, sign it, push it: {dib} pull {bundle_2} -o update.dib && {dib} sign --key KEY "
        "update.dib && {dib} push update.{dib} {again}"
    ),
)
SIGN_KEY_OR_SIGNATURE: Final = Message(
    "sign.key_or_signature",
    "one of --key and --signature is wanted",
    hint="{dib} sign --key ~/.ssh/id_ed25519 {bundle}",
)
SIGN_NO_PLACE: Final = Message(
    "sign.no_place", "{name} is no file: its signature has no place beside it", hint="give --detach -o FILE"
)
SIGN_STDIN: Final = Message("sign.stdin", "stdin is read once: only --detach signs it")
SIGN_WRAPPED: Final = Message(
    "sign.wrapped",
    "{bundle} is an image that holds a bundle, which is signed alone",
    hint="take it out first: {dib} unwrap {bundle_2} -o update.dib",
)
SIGNATURE_ENVIRONMENT_FILE: Final = Message(
    "signature.environment_file",
    "DIB_ALLOWED_SIGNERS is set: {reason}",
    hint=("put the file there, with lines as ssh-keygen(1) describes them, or name it with --allowed-signers"),
)
SIGNATURE_NO_SIGNERS: Final = Message(
    "signature.no_signers",
    "a signature is wanted, as {asked}, but not whose: --allowed-signers is missing",
    hint=("--allowed-signers FILE (or DIB_ALLOWED_SIGNERS), with lines as ssh-keygen(1) describes them"),
)
VERIFY_ARGUMENTS: Final = Message("verify.arguments", "{names_count} arguments, wanted BUNDLE, or its parts")
VERIFY_EXPECT_WITHOUT_BASE: Final = Message(
    "verify.expect_without_base", "what the bundle makes shows in a rebuild alone", hint="give --base too"
)
WRAP_ARGUMENTS: Final = Message(
    "wrap.arguments", "{sources_count} arguments, wanted BUNDLE", hint="give the base with --base"
)
WRAP_DOCKERFILE_ARGUMENTS: Final = Message("wrap.dockerfile_arguments", "{sources_count}, wanted OLD NEW")
WRAP_DOCKERFILE_BASES: Final = Message(
    "wrap.dockerfile_bases", "{bases_count} times --base, wanted once at most, with --linked"
)
WRAP_KIND: Final = Message(
    "wrap.kind", "give --linked or --unlinked", hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME"
)
OPTION_LISTING: Final = Message("option.listing", "{option} goes with {shown}", hint="give --{show} too")
OPTION_OTHER_LISTING: Final = Message(
    "option.listing", "{option} goes with {shown}", hint="give --{show} in place of --{given}"
)
WRAP_NO_BASE: Final = Message(
    "wrap.no_base",
    "a linked image needs the base it is linked to",
    hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME",
)
WRAP_BASE: Final = Message(
    "wrap.base", "--unlinked takes no --base", hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME"
)
FILE_SYSTEM: Final = Message("file.system", "{name}: {reason}")
SYSTEM_NO_MEMORY: Final = Message(
    "system.no_memory", "not enough memory", hint="use fewer workers (--workers 1) or a machine with more memory"
)
INTERNAL_ERROR: Final = Message(
    "internal.error", "internal error: {kind}: {error}", hint="run it again with DIB_DEBUG=1 and report the output"
)
SYSTEM_NO_MODULE: Final = Message("system.no_module", "{python} lacks the module {module}", hint="{action}")
OPTION_REFUSED: Final = Message("option.refused", "{reason}")
OPTION_UNKNOWN: Final = Message("option.unknown", "{reason}")
OPTION_MISPLACED: Final = Message("option.misplaced", "no such option: {option} before the command")
OPTION_NO_COMMAND: Final = Message("option.no_command", "no such command {name}")
SYSTEM_NO_STANDARD_MODULE: Final = Message(
    "system.no_standard_module",
    "{python} lacks the module {module}",
    hint="take a Python that has it: python3 -c 'import {module}'",
)
SYSTEM_NO_OWN_MODULE: Final = Message(
    "system.no_own_module", "{python} lacks the module {module}", hint="in a checkout of dib: {action}"
)
