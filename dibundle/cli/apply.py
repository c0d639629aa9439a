"""``dib apply``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from dibundle.applying.chain import follow
from dibundle.applying.directory import apply_into
from dibundle.applying.pipeline import ApplyOptions, apply, choose_target
from dibundle.applying.rewrite import apply_as, apply_to_folder, kept_size, loaded
from dibundle.cli import documents, limits, messages, registries, terminal
from dibundle.cli.checking import check_targets, tell_checked
from dibundle.cli.completion import words
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.dockerfiles import options as dockerfile_options
from dibundle.cli.dockerfiles import write
from dibundle.cli.sources import NO_BUNDLE, all_bundles, one_bundle, open_sources
from dibundle.cli.trust import Trust
from dibundle.cli.trust import options as trust_options
from dibundle.codecs.native.library import reuse_memory
from dibundle.errors import UsageError
from dibundle.files.destination import Destination, check_room
from dibundle.files.readat import room
from dibundle.format.reader import BundleReader
from dibundle.images.writers import Form
from dibundle.sharing.dockerfile import Build, applying


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
    shell_complete=words("docker-archive", "oci-archive", "oci:"),
    help="Write docker-archive, oci-archive or oci:FOLDER instead of the exact target.",
)
@click.option("--target", metavar="NAME", help="Which one to make, of a bundle that makes several archives.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the receiver has loaded.")
@click.option("--check", is_flag=True, help="Only say whether it would work here; reads heads and metadata.")
@limits.max_size
@trust_options
@click.option("--platform", metavar="OS/ARCH", help="Which one to save, of names that an engine is asked for.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@dockerfile_options(own=set(), passed={"target", "thin", "max_size", "expect", "platform", "insecure"})
@console_options()
def command(
    sources: tuple[str, ...],
    output: str | None,
    form: str | None,
    target: str | None,
    thin: bool,
    check: bool,
    max_size: int,
    platform: str | None,
    tmp: str | None,
    trust: Trust,
    build: Build | None,
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
    options = ApplyOptions(tmp=tmp, max_size=max_size)
    progress = console.progress
    with ExitStack() as stack:
        into = output if output is not None and (output.endswith("/") or Path(output).is_dir()) else None
        if into and (form or thin):
            raise UsageError(messages.OPTION_AS_ONE_IMAGE)
        folder = form.removeprefix("oci:") if form and form.startswith("oci:") else None
        destination = Destination("-" if output is None or into else output)
        opened = open_sources(sources, stack, trust=trust.check, tmp=tmp, platform=platform)
        opened.refuse_overwriting(destination)
        if not (check or folder is not None or into):
            console.keep_stdout(destination)
        if check:
            whole = f"a chain is tried by making it: {shlex.join(['dib', 'apply', *sources, '-o', '/dev/null'])}"
            bundle = one_bundle(opened, hint=_without(sources), several=whole)
            options = replace(options, expect=trust.expect, target=target)
            without = loaded(opened.archives) if thin else None
            named = target is not None or form or thin
            every = [choose_target(bundle.manifest, options)] if named else range(len(bundle.manifest.targets))
            sizes = [kept_size(bundle.manifest, number, without) for number in every]
            options = replace(options, kept=sum(sizes) if form or thin else 0)
            options = _with_room(options, into or folder or destination, sum(sizes))
            found = check_targets(opened, bundle, options, every)
            tell_checked(found, bundle, trust.signed_by([bundle]), console)
            return
        bundles = all_bundles(opened, hint=_without(sources))
        without = loaded(opened.archives) if thin else None
        archives, bundle = follow(opened.archives, bundles, options, stack, progress)
        # both concern the last one; those before only lead to it
        options = replace(options, expect=trust.expect, target=target)
        if into:
            every = range(len(bundle.manifest.targets)) if target is None else [choose_target(bundle.manifest, options)]
            options = _with_room(options, into, sum(bundle.manifest.targets[number].size for number in every))
            files = apply_into(archives, bundle, into, every, options, progress)
            written = [(file.name, file.written) for file in files]
            _tell(console, bundle, options, written, trust.signed_by(bundles))
            return
        hint = "choose one of them with --target NAME, or write all with -o FOLDER/"
        number = choose_target(bundle.manifest, options, hint=hint)
        options = _with_room(options, folder or destination, kept_size(bundle.manifest, number, without))
        if folder is not None:
            apply_to_folder(archives, bundle, folder, options, progress, without=without)
            _tell(console, bundle, options, [(folder, None)], trust.signed_by(bundles))
            return
        with destination:
            if form or thin:
                apply_as(archives, bundle, _form(form), destination.write, options, progress, without=without)
            else:
                apply(archives, bundle, destination.write, options, progress)
        _tell(console, bundle, options, [(destination.name, destination.written)], trust.signed_by(bundles))


def _without(sources: Sequence[str]) -> str:
    """Return what to do where no source is a bundle: an image in a registry may have one that leads to it."""
    wanted = next(filter(registries.is_reference, reversed(sources)), None)
    if wanted is None:
        return NO_BUNDLE
    haves = [word for source in sources if source != wanted for word in ("--have", source)]
    return f"to get an image: {shlex.join(['dib', 'update', wanted, *haves])}"


def _tell(
    console: Console,
    bundle: BundleReader,
    options: ApplyOptions,
    written: Sequence[tuple[str, int | None]],
    signed_by: Sequence[str],
) -> None:
    """Say what was written: names and sizes of files, or the name of a folder."""
    manifest = bundle.manifest
    numbers = range(len(manifest.targets)) if len(written) > 1 else [choose_target(manifest, options)]
    outputs = [
        {**documents.name("path", name), "size": size, "target": documents.target(manifest, number)}
        for number, (name, size) in zip(numbers, written, strict=True)
    ]
    document = {"outputs": outputs, "signed_by": signed_by, "seconds": round(console.seconds, 3)}
    console.result("dib.apply/1", document)
    console.say_signed(signed_by)
    for name, size in written:
        much = f"{terminal.human(size)}, " if size is not None else ""
        shown = "stdout" if name == "-" else terminal.escape(name)
        console.say(f"{shown}: {much}verified, in {console.seconds:.1f} s")


def _with_room(options: ApplyOptions, output: Destination | str, size: int) -> ApplyOptions:
    """Return options by which a file, or a folder that may not be there yet, is refused without room for ``size``."""
    if isinstance(output, Destination):
        check = output.check_room
    else:
        place = output if Path(output).is_dir() else os.path.dirname(output.rstrip("/"))  # noqa: PTH120
        check = partial(check_room, output, place)
    return replace(options, check_output=lambda temporary: check(size, temporary, room(options.tmp)[0]))


def _form(name: str | None) -> Form:
    if name in (None, "docker-archive"):
        return "docker-archive"
    if name == "oci-archive":
        return "oci-archive"
    raise UsageError(messages.OPTION_FORM, name=name)
