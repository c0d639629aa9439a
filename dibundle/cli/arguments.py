"""The arguments of ``dib create`` and ``dib apply``, and hints for wrong arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from dibundle.applying import messages as apply_messages
from dibundle.applying.pipeline import Folder, OutputFormat
from dibundle.cli import messages
from dibundle.errors import Hint, UsageError, shell_words
from dibundle.files import wording
from dibundle.files.destination import Destination
from dibundle.sources.detect import is_named_so
from dibundle.sources.names import is_reference

LEAST_PART: Final = 65536
FORMS: Final = ("docker-archive", "oci-archive", "oci:")


def order_hint(names: Sequence[str]) -> Hint | None:
    """Return a hint with the arguments in the right order. The bundle comes last.

    Return None if the order is already right.
    """
    ordered = sorted(names, key=lambda name: name.endswith(".dib"))
    if ordered == list(names) or sum(name.endswith(".dib") for name in names) > 1:
        return None
    words = shell_words(*ordered) if len(names) == 3 else "OLD.tar NEW.tar OUT.dib"
    return Hint.of("the order is: {dib} create {words}", words=words)


def part_size(size: int) -> int:
    """Return the size of parts. Raise :class:`UsageError` if the size is too small."""
    if size < LEAST_PART:
        raise UsageError(messages.OPTION_SPLIT_TOO_SMALL, found=size, least_part=LEAST_PART)
    return size


def parse_names(
    archives: tuple[str, ...], output: str | None, more_bases: tuple[str, ...], *, no_base: bool
) -> tuple[list[str], list[str], str]:
    """Return the names of the bases, of the targets and of the output."""
    names = list(archives)
    several = output is not None and (no_base or bool(more_bases))
    if output is None:
        if not names:
            raise UsageError(messages.OPTION_NO_ARCHIVES)
        output = names.pop()
    if no_base and more_bases:
        raise UsageError(messages.OPTION_NO_BASE_AND_BASE)
    alone = no_base or bool(more_bases)
    if (len(names) < 1) if several else (len(names) != (1 if alone else 2)):
        shape = "TARGET... -o OUT" if several else "TARGET OUT" if alone else "BASE TARGET OUT"
        hint = Hint.of("{dib} create OLD.tar NEW.tar OUT.dib")
        if not alone and len(archives) == 2:
            hint = _two_arguments(archives)
        if alone and len(names) > 1:
            bases = ["--no-base"] if no_base else [f"--base {shell_words(name)}" for name in more_bases]
            words = " ".join([*bases, shell_words(*names), "-o", shell_words(output)])
            hint = Hint.of("several targets need -o: {dib} create {words}", words=words)
        given = wording.count(len(archives), "argument")
        raise UsageError(messages.OPTION_ARGUMENT_COUNT, archives_count=given, shape=shape, hint=hint)
    return ([*more_bases], names, output) if alone else ([names[0]], names[1:], output)


def _two_arguments(archives: Sequence[str]) -> Hint:
    words = shell_words(*archives)
    if _is_new_bundle(archives[1]):
        return Hint.of(
            "give the base too: {dib} create OLD.tar {words}; for a bundle without a base, add --no-base", words=words
        )
    return Hint.of("name the bundle to write: {dib} create {words} update.dib", words=words)


def _is_new_bundle(name: str) -> bool:
    """Return whether a name is probably the name of the bundle to write.

    This is likely if the name has the ending of a bundle's name, or if no file has this name.
    """
    return is_named_so(name) or not (":" in name or Path(name).exists())


def parse_output(output: str | None, form: str | None) -> tuple[OutputFormat | None, Destination | Folder]:
    """Return the output format and the destination."""
    if form and form.startswith("oci:"):
        return "oci", Folder(form.removeprefix("oci:"))
    if form not in (None, "docker-archive", "oci-archive"):
        raise UsageError(apply_messages.OPTION_FORM, name=form)
    if output is not None and (output.endswith("/") or Path(output).is_dir()):
        return cast("OutputFormat | None", form), Folder(output)
    return cast("OutputFormat | None", form), Destination("-" if output is None else output)


def source_hints(sources: Sequence[str]) -> dict[str, Hint | None]:
    """Return two hints: one for sources that include no bundle, one for a bundle with several targets."""
    wanted = next(filter(is_reference, reversed(sources)), None)
    update = None
    if wanted is not None:  # "dib update" can fetch the image from the registry
        bases = [f"--base {shell_words(source)}" for source in sources if source != wanted]
        update = Hint.of("to get an image: {dib} update {words}", words=" ".join([shell_words(wanted), *bases]))
    return {
        "source.no_bundle": update,
        "target.ambiguous": Hint.of("choose one of them with --target NAME, or write all with -o FOLDER/"),
    }
