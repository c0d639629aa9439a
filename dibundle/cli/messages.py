"""Messages about the command line, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

_DOCKERFILE: Final = "{dib} dockerfile create --linked docker://registry.example/app:1 docker://registry.example/app:2"

DELETE_SEVERAL: Final = Message(
    "delete.several", "--orphans takes one repository, not {count}", hint="run the command once for each repository"
)
DOCKERFILE_ARGUMENTS: Final = Message(
    "dockerfile.arguments", "{count} sources given, wanted two: OLD NEW", hint=_DOCKERFILE
)
DOCKERFILE_BASE: Final = Message(
    "dockerfile.base", "--unlinked takes no --base", hint="give --linked in place of --unlinked"
)
DOCKERFILE_ENVIRONMENT: Final = Message(
    "dockerfile.environment",
    "{name} is set, but a build does not check signatures",
    hint="to build without signature checks: {unset}{dib} dockerfile apply ...",
)
DOCKERFILE_KIND: Final = Message("dockerfile.kind", "give --linked or --unlinked", hint=_DOCKERFILE)
DOCKERFILE_POLICY: Final = Message(
    "dockerfile.policy",
    "{path} requires signatures, but a build does not check them",
    hint="apply the bundle on this machine, and start the build from the rebuilt image",
)
FILE_SYSTEM: Final = Message("file.system", "{name}: {reason}")
INTERNAL_ERROR: Final = Message(
    "internal.error",
    "internal error: {kind}: {error}",
    hint="repeat the command with DIB_DEBUG=1, and report the output",
)
OPTION_ARGUMENT_COUNT: Final = Message("option.argument_count", "{archives_count} given, wanted {shape}")
OPTION_JSON_AND_STDOUT: Final = Message(
    "option.json_and_stdout",
    "--json and the output cannot both go to stdout",
    hint="write the output to a file: -o FILE",
)
OPTION_LEVELS: Final = Message(
    "option.levels", "two levels given: {one} and {other}", hint="choose one: -1 (fast) to -9 (small)"
)
OPTION_LISTING: Final = Message("option.listing", "{option} needs {shown}", hint="add --{show}")
OPTION_OTHER_LISTING: Final = Message(
    "option.listing", "{option} needs {shown}", hint="replace --{given} with --{show}"
)
OPTION_MISPLACED: Final = Message("option.misplaced", "option {option} is not valid before the command")
OPTION_NO_ARCHIVES: Final = Message(
    "option.no_archives", "no archives given", hint="{dib} create OLD.tar NEW.tar OUT.dib"
)
OPTION_NO_BASE_AND_BASE: Final = Message("option.no_base_and_base", "--no-base and --base cannot be used together")
OPTION_NO_COMMAND: Final = Message("option.no_command", "no such command {name}")
OPTION_OUTPUT_IS_REGISTRY: Final = Message(
    "option.output_is_registry",
    "cannot write a bundle to a registry: write the bundle to a file, then push this file",
    hint="{dib} push update.dib {out}",
)
OPTION_REFUSED: Final = Message("option.refused", "{reason}")
OPTION_SIZE: Final = Message(
    "option.size",
    "{found} is not a valid size",
    hint="give a number of bytes, or 20M (MiB) or 20MB (million bytes); K, G and T also work",
)
OPTION_SPLIT_TO_STDOUT: Final = Message(
    "option.split_to_stdout",
    "--split writes several files, so the output cannot be stdout",
    hint="give a file name: the parts are called update.dib.001 and so on",
)
OPTION_SPLIT_TOO_SMALL: Final = Message(
    "option.split_too_small",
    "--split {found} is too small: wanted parts of at least {least_part:,} bytes (64K)",
    hint="for example --split 3900M",
)
OPTION_UNKNOWN: Final = Message("option.unknown", "{reason}")
OUTPUT_EXISTS: Final = Message("output.exists", "{path} already exists", hint="give an empty or new folder: --keep DIR")
OUTPUT_FOLDER_IS_FILE: Final = Message("output.folder_is_file", "{folder} is a file", hint="give a folder: --keep DIR")
SIGNATURE_ENVIRONMENT_FILE: Final = Message(
    "signature.environment_file",
    "the file in DIB_ALLOWED_SIGNERS cannot be used: {reason}",
    hint=("create the file (see ALLOWED SIGNERS in ssh-keygen(1)), or give --allowed-signers"),
)
SIGNATURE_ENVIRONMENT_EMPTY: Final = Message(
    "signature.environment_empty",
    "DIB_ALLOWED_SIGNERS is set, but empty",
    hint="set the variable to a file (see ALLOWED SIGNERS in ssh-keygen(1)), or unset the variable",
)
SIGNATURE_NO_SIGNERS: Final = Message(
    "signature.no_signers",
    "a signature is required ({asked}), but no signers are given",
    hint=("give --allowed-signers FILE (see ALLOWED SIGNERS in ssh-keygen(1)), or set DIB_ALLOWED_SIGNERS"),
)
SYSTEM_NO_MEMORY: Final = Message(
    "system.no_memory", "not enough memory", hint="use a machine with more memory, or run dib create with --workers 1"
)
SYSTEM_NO_MODULE: Final = Message("system.no_module", "{python} lacks the module {module}", hint="{action}")
SYSTEM_NO_OWN_MODULE: Final = Message(
    "system.no_own_module", "{python} lacks the module {module}", hint="in a checkout of dib: {action}"
)
SYSTEM_NO_STANDARD_MODULE: Final = Message(
    "system.no_standard_module",
    "{python} lacks the module {module}",
    hint="use a Python that has this module; to test a Python: python3 -c 'import {module}'",
)
VERIFY_ARGUMENTS: Final = Message(
    "verify.arguments",
    "{names_count} arguments given, wanted BUNDLE or its parts",
    hint="{dib} verify BUNDLE --base OLD.tar",
)
VERIFY_SEVERAL: Final = Message(
    "verify.several", "{names_count} arguments given, wanted BUNDLE or its parts", hint="verify them one at a time"
)
WRAP_ARGUMENTS: Final = Message(
    "wrap.arguments", "{sources_count} arguments given, wanted BUNDLE", hint="add the base with --base"
)
WRAP_BASE: Final = Message(
    "wrap.base", "--unlinked takes no --base", hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME"
)
WRAP_KIND: Final = Message(
    "wrap.kind", "give --linked or --unlinked", hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME"
)
WRAP_NO_BASE: Final = Message(
    "wrap.no_base",
    "--linked needs the base image",
    hint="{dib} wrap BUNDLE --linked --base OLD.tar --tag NAME",
)
