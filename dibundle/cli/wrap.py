"""``dib wrap``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import click

from dibundle.cli import documents, messages, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.dockerfiles import options as dockerfile_options
from dibundle.cli.dockerfiles import write
from dibundle.cli.sources import in_place_of, one_stream, open_archives, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.errors import UsageError
from dibundle.files.destination import Destination
from dibundle.images import writers
from dibundle.sharing.dockerfile import Build, wrapping
from dibundle.sharing.wrap import Wrapped, keep, wrap
from dibundle.sources.registry.reference import image_name


@click.command("wrap", short_help="Make an image of a bundle, on top of its base's layers or alone.")
@click.argument("sources", nargs=-1, metavar="BUNDLE", required=True)
@click.option("--linked", "kind", flag_value="linked", help="The base's layers, and one with the bundle.")
@click.option("--unlinked", "kind", flag_value="unlinked", help="The layer with the bundle alone.")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="BASE",
    help="The image to link to; with --dockerfile as the builder calls it.",
)
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Name of the image; may be given more than once.")
@click.option("-o", "--output", metavar="FILE", help="Write there, whole or not at all; default is stdout.")
@click.option("--push", "target", metavar="docker://HOST/NAME:TAG", help="Push it there instead of writing it.")
@signature_options
@registries.insecure
@click.option("--platform", metavar="OS/ARCH", help="Of an unlinked image, and of names that an engine is asked for.")
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
# a build that wraps reads no bundle, whatever is demanded of bundles here
@dockerfile_options(own={"kind", "bases", "allowed_signers", "require_signature"}, passed={"platform", "insecure"})
@console_options()
def command(
    sources: tuple[str, ...],
    kind: str | None,
    bases: tuple[str, ...],
    tags: tuple[str, ...],
    output: str | None,
    target: str | None,
    platform: str | None,
    tmp: str | None,
    trust: Trust,
    build: Build | None,
    console: Console,
) -> None:
    """Make an image of BUNDLE, which registries and engines keep and move as any other.

    \b
        dib wrap update.dib --linked --base old.tar --tag app:1-2 | docker load
        dib wrap update.dib --unlinked --tag app:delta -o delta.tar
        dib wrap update.dib --linked --base docker://registry.example/app:1 --push docker://registry.example/app:1-2

    A linked image has the base's layers, the very same blobs, and one more: whoever pulls it has all that
    "dib apply" needs. It is a parcel, not a program: apply it, do not run it.

    \b
        dib wrap --dockerfile --linked docker://registry.example/app:1 docker://registry.example/app:2 > Dockerfile
        dib wrap --dockerfile --linked --base app:1 old.tar new.tar > Dockerfile

    Such a build makes the bundle too. It takes archives out of its context, and needs an image of dib.
    """
    if kind is None:
        raise UsageError(messages.WRAP_KIND)
    if build is not None:
        _write_dockerfile(build, sources, kind, bases, platform, console)
        return
    if len(sources) > 1:
        raise UsageError(messages.WRAP_ARGUMENTS, sources_count=len(sources))
    if (kind == "linked") != bool(bases):
        raise UsageError(messages.WRAP_NO_BASE if kind == "linked" else messages.WRAP_BASE)
    tags = tuple(map(image_name, tags))
    with ExitStack() as stack:
        destination = Destination("-" if output is None else output)
        if target is None:
            console.keep_stdout(destination)
        opened = open_sources(sources, stack, trust=trust.check, tmp=tmp, bundle_first=True)
        here = open_archives(bases, stack, tmp=tmp, platform=platform)
        for found in (opened, here):
            found.refuse_overwriting(destination)
        made = wrap(
            keep(one_stream(opened, hint=in_place_of(sources[0])), stack, tmp), here.archives, tags, platform=platform
        )
        if target is not None:
            _push(made, target, bases, stack, console, kind)
            return
        with destination:
            writers.write(made.layout, "docker-archive", destination.write, check=True)
    console.result(
        "dib.wrap/1",
        {**documents.name("output", destination.name), "kind": kind, "size": destination.written, "tags": list(tags)},
    )
    if output is not None:
        console.say(f"{terminal.escape(output)}: {kind} image, {terminal.human(destination.written)}")


def _write_dockerfile(
    build: Build, sources: Sequence[str], kind: str, bases: Sequence[str], platform: str | None, console: Console
) -> None:
    """Write the Dockerfile that makes bundle and image from two archives."""
    usage = "dib wrap --dockerfile --linked docker://registry.example/app:1 docker://registry.example/app:2"
    if len(sources) != 2:
        raise UsageError(
            messages.WRAP_DOCKERFILE_ARGUMENTS, sources_count=terminal.count(len(sources), "argument"), hint=usage
        )
    if len(bases) > (kind == "linked"):
        raise UsageError(messages.WRAP_DOCKERFILE_BASES, bases_count=len(bases), hint=usage)
    old, new = sources
    linked = kind == "linked"
    write(wrapping(build, old, new, linked=linked, base=bases[0] if bases else None, platform=platform), console)


def _push(made: Wrapped, target: str, bases: tuple[str, ...], stack: ExitStack, console: Console, kind: str) -> None:
    """Push the image, taking the base's layers from where they are in the registry already."""
    from dibundle.sources.registry.images import push
    from dibundle.sources.registry.reference import Reference

    reference = registries.parse_target(target)
    known = (Reference.parse(base) for base in bases if registries.is_reference(base))
    source = next((base.repository for base in known if base.host == reference.host), None)
    repository = registries.repository(reference, stack, write=True)
    sent = push(repository, made.manifest, made.layout.blobs, reference.tag or "latest", source)
    size = sum(blob.size for blob in sent)
    console.result(
        "dib.wrap/1",
        {"output": str(reference), "kind": kind, "size": size, "tags": [reference.tag or "latest"]},
    )
    console.say(f"{reference}: {len(sent)} of {len(made.layout.blobs) - 1} blobs sent, {terminal.human(size)}")
