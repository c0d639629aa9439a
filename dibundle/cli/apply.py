"""``dib apply``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from dibundle import digest
from dibundle.applying import ApplyOptions, apply, base_names, choose_target, find_base
from dibundle.archive.opener import Archive
from dibundle.bundle.reader import BundleReader
from dibundle.bundle.uses import objects_used
from dibundle.chain import follow
from dibundle.cli import registries, terminal
from dibundle.cli.sources import Sources, all_bundles, one_bundle, open_sources
from dibundle.cli.trust import Trust
from dibundle.cli.trust import options as trust_options
from dibundle.convert import apply_as, apply_to_folder
from dibundle.destination import Destination
from dibundle.errors import UsageError
from dibundle.expect import refuse_claims
from dibundle.image.forms import Form
from dibundle.release import apply_into

MAX_SIZE = click.IntRange(min=0)


@click.command("apply", short_help="Rebuild an image archive from the old one and a bundle.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]", required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write there, whole or not at all; a folder gets a file for each target. Default: stdout.",
)
@click.option(
    "--as", "form", metavar="FORM", help="Write docker-archive, oci-archive or oci:FOLDER instead of the exact target."
)
@click.option("--target", metavar="NAME", help="Which one to make, of a bundle that makes several archives.")
@click.option("--thin", is_flag=True, help="Leave out the layers of the base, which the receiver has loaded.")
@click.option("--check", is_flag=True, help="Only say whether it would work here; reads heads and metadata.")
@click.option("--max-size", type=MAX_SIZE, metavar="BYTES", help="Refuse bundles that make more than this.")
@trust_options(word=True)
@click.option("--platform", metavar="OS/ARCH", help="Which one to save, of names that an engine is asked for.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    sources: tuple[str, ...],
    output: str | None,
    form: str | None,
    target: str | None,
    thin: bool,
    check: bool,
    max_size: int | None,
    platform: str | None,
    tmp: str | None,
    quiet: bool,
    trust: Trust,
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

    With --allowed-signers, each bundle must be signed (see "dib sign"), which is checked before anything else is read.
    A signature does not say that a bundle is the latest one, or yours: --expect does.
    """
    options = ApplyOptions(tmp=tmp) if max_size is None else ApplyOptions(tmp=tmp, max_size=max_size)
    progress = terminal.progress(quiet=quiet)
    with ExitStack() as stack:
        into = output if output is not None and (output.endswith("/") or Path(output).is_dir()) else None
        if into and (form or thin):
            raise UsageError("--as and --thin write one image", hint="name a file, and the target with --target NAME")
        destination = Destination("-" if output is None or into else output)
        opened = open_sources(sources, stack, tmp=tmp, platform=platform)
        opened.refuse_overwriting(destination)
        if check:
            options = replace(options, expect=trust.expect, target=target)
            _check(opened, one_bundle(opened, trust.check), options)
            return
        archives, bundle = follow(opened.archives, all_bundles(opened, trust.check), options, stack, progress)
        # both concern the last one; those before only lead to it
        options = replace(options, expect=trust.expect, target=target)
        if into:
            _write_all(into, archives, bundle, options, progress, quiet=quiet)
            return
        folder = form.removeprefix("oci:") if form and form.startswith("oci:") else None
        if folder is not None:
            apply_to_folder(archives, bundle, folder, options, progress, thin=thin)
            return
        with destination:
            if form or thin:
                apply_as(archives, bundle, _form(form), destination.write, options, progress, thin=thin)
            else:
                apply(archives, bundle, destination.write, options, progress)
    progress.clear()
    if output is not None and not quiet:
        terminal.message(f"{terminal.escape(destination.name)}: {terminal.human(destination.written)}, verified")


def _write_all(
    folder: str,
    archives: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions,
    progress: terminal.Bar | terminal.Notes | terminal.Quiet,
    *,
    quiet: bool,
) -> None:
    """Write every target, or the one that is named, into a folder."""
    every = range(len(bundle.manifest.targets))
    targets = every if options.target is None else [choose_target(bundle.manifest, options)]
    written = apply_into(archives, bundle, folder, targets, options, progress)
    progress.clear()
    for file in written if not quiet else ():
        terminal.message(f"{terminal.escape(file.name)}: {terminal.human(file.written)}, verified")


def _form(name: str | None) -> Form:
    if name in (None, "docker-archive"):
        return "docker-archive"
    if name == "oci-archive":
        return "oci-archive"
    raise UsageError(f"no form {name}", hint="there are docker-archive, oci-archive and oci:FOLDER")


def _check(opened: Sources, bundle: BundleReader, options: ApplyOptions) -> None:
    """Say whether the base serves the bundle; :class:`BaseMismatchError` says what is missing."""
    target = choose_target(bundle.manifest, options)
    if options.expect:
        refuse_claims(options.expect, bundle.manifest, target)
    with ExitStack() as stack:
        base = find_base(bundle.manifest, opened.archives, options, [target], believe=True)
        stack.callback(base.close)
        need = base.spool_size(objects_used(bundle.manifest, target))
    about = bundle.manifest.about
    made = ", ".join(_name(image.names, image.id) for image in about.targets[target]) if about else "an image"
    needs = (", ".join(base_names(bundle.manifest)) or "the base") + " is here"
    needs = needs if bundle.manifest.objects else "no base is needed"
    click.echo(
        f"ok: {terminal.escape(needs)}; applying makes {terminal.escape(made)},"
        f" {terminal.human(bundle.manifest.targets[target].size)}"
        + (f", with {terminal.human(need)} of temporary space" if need else "")
    )


def _name(names: tuple[str, ...], image_id: bytes) -> str:
    return names[0] if names else digest.text(image_id)
