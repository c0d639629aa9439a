"""``dib apply``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from dibundle.applying.check import CheckedTarget, CheckResult, check
from dibundle.applying.pipeline import ApplyOptions, ApplyResult, Folder, OutputFormat, apply
from dibundle.cli import documents, messages
from dibundle.cli.console import Console
from dibundle.cli.dockerfiles import options as dockerfile_options
from dibundle.cli.dockerfiles import write
from dibundle.cli.hints import hints
from dibundle.cli.session import PLATFORM, max_size, session
from dibundle.codecs.native.library import reuse_memory
from dibundle.errors import Hint, UsageError
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sharing.dockerfile import Build, applying
from dibundle.sources.access import Access
from dibundle.sources.names import is_reference

_FORMS = ("docker-archive", "oci-archive", "oci:")


@click.command("apply", short_help="Rebuild an image archive from the old one and a bundle.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]", required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write there, whole or not at all; a folder gets a file for each target. Default: stdout.",
)
@click.option(
    "--as",
    "form",
    metavar="FORM",
    shell_complete=lambda context, option, typed: [form for form in _FORMS if form.startswith(typed)],
    help="Write docker-archive, oci-archive or oci:FOLDER instead of the exact target.",
)
@click.option("--target", metavar="NAME", help="Which one to make, of a bundle that makes several archives.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the receiver has loaded.")
@click.option(
    "--check", "only_check", is_flag=True, help="Only say whether it would work here; reads heads and metadata."
)
@max_size
@dockerfile_options(own=set(), passed={"target", "thin", "max_size", "expect", "platform", "insecure"})
@session(signatures=True, expect=True, platform=PLATFORM)
def command(
    sources: tuple[str, ...],
    output: str | None,
    form: str | None,
    target: str | None,
    thin: bool,
    only_check: bool,
    max_size: int,
    expect: frozenset[bytes],
    build: Build | None,
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Rebuild the image archive that a bundle makes, byte for byte.

    \b
        dib apply old.tar update.dib | docker load
        dib apply old.tar update.dib -o new.tar
        dib apply v1.tar v1-v2.dib v2-v3.dib -o v3.tar
        dib apply docker-daemon:app:1 update.dib | docker load
        dib apply old.tar release.dib -o new/

    Each SOURCE is recognised by its content: bundles are applied, archives (of any form that holds the same layers)
    are bases. Bundles that build on each other may come in any order. An OCI layout in a folder is an archive too, and
    docker-daemon:NAME or containers-storage:NAME asks docker or podman to save an image; docker://HOST/NAME:TAG is in a
    registry, image or bundle. An image that "dib wrap" made is base and bundle at once. "-" is stdin.

    --check takes one bundle. Whether a chain of them works shows when it is made: -o /dev/null keeps nothing.

    With --allowed-signers, each bundle must be signed (see "dib sign"), which is checked before anything else is read.
    A signature does not say that a bundle is the latest one, or yours: --expect does.

    With --dockerfile nothing is read: the build of that Dockerfile takes each SOURCE from a registry or its context,
    and needs an image of dib.
    """
    if build is not None:
        write(applying(build, sources), console)
        return
    reuse_memory()
    wanted, where = _output(output, form)
    options = ApplyOptions(target=target, expect=expect, max_size=max_size, form=wanted, thin=thin)
    with hints(_hints(sources)):
        if only_check:
            _print_check(check(sources, where, options, access, context), console)
            return
        if isinstance(where, Destination):
            console.keep_stdout(where)
        _print(apply(sources, where, options, access, context), console)


def _output(output: str | None, form: str | None) -> tuple[OutputFormat | None, Destination | Folder]:
    """Return the form to write, and where to."""
    if form and form.startswith("oci:"):
        return "oci", Folder(form.removeprefix("oci:"))
    if form not in (None, "docker-archive", "oci-archive"):
        raise UsageError(messages.OPTION_FORM, name=form)
    if output is not None and (output.endswith("/") or Path(output).is_dir()):
        return cast("OutputFormat | None", form), Folder(output)
    return cast("OutputFormat | None", form), Destination("-" if output is None else output)


def _hints(sources: Sequence[str]) -> dict[str, Hint | None]:
    """Return what to do where no source is a bundle, or several are, or a bundle makes several archives."""
    wanted = next(filter(is_reference, reversed(sources)), None)
    update = None
    if wanted is not None:  # an image in a registry may have a bundle that leads to it
        haves = [word for source in sources if source != wanted for word in ("--have", source)]
        update = Hint.of("to get an image: {dib} {words}", words=shlex.join(["update", wanted, *haves]))
    whole = shlex.join(["apply", *sources, "-o", "/dev/null"])
    return {
        "source.no_bundle": update,
        "source.several_bundles": Hint.of("a chain is tried by making it: {dib} {words}", words=whole),
        "target.ambiguous": Hint.of("choose one of them with --target NAME, or write all with -o FOLDER/"),
    }


def _print(result: ApplyResult, console: Console) -> None:
    """Say what was written: names and sizes of files, or the name of a folder."""
    outputs = [
        {**documents.name("path", item.name), "size": item.size, "target": documents.target(item.target)}
        for item in result.outputs
    ]
    document = {"outputs": outputs, "signed_by": result.signed_by, "seconds": round(console.seconds, 3)}
    console.result("dib.apply/1", document)
    console.say_signed(result.signed_by)
    for item in result.outputs:
        much = f"{wording.human(item.size)}, " if item.size is not None else ""
        shown = "stdout" if item.name == "-" else wording.escape(item.name)
        console.say(f"{shown}: {much}verified, in {console.seconds:.1f} s")


def _print_check(result: CheckResult, console: Console) -> None:
    """Say for each target whether it can be made; raise the error of the first that cannot."""
    lines = [_line(result, target) for target in result.targets]
    if result.error:
        if len(lines) > 1 and not console.json:
            click.echo("\n".join(lines))
        raise result.error
    made = [target.target for target in result.targets]
    document = {
        "ok": True,
        "needs": documents.images(result.needed),
        "target": documents.target(made[0]),
        "targets": documents.targets(made),
        "temporary_space": result.temporary,
        "signed_by": result.signed_by,
    }
    console.answer("dib.check/1", document, lines)
    console.say_signed(result.signed_by)


def _line(result: CheckResult, target: CheckedTarget) -> str:
    if target.error:
        return wording.escape(f"no: {target.name}: {target.error.message}")
    images = target.target.images
    made = ", ".join(image.names[0] if image.names else f"sha256:{image.id.hex()}" for image in images) or "an image"
    here = ", ".join(result.here) or "the base"
    needs = f"{here} {'are' if len(result.here) > 1 else 'is'} here" if result.needs_base else "no base is needed"
    return (
        f"ok: {wording.escape(needs)}; applying makes {wording.escape(made)}, {wording.human(target.target.size)}"
        + (f", with {wording.human(target.temporary)} of temporary space" if target.temporary else "")
    )
