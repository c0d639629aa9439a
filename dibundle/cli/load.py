"""``dib load``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from dibundle.applying.chain import follow
from dibundle.applying.loading import LoadOptions, load, repositories_of
from dibundle.applying.pipeline import ApplyOptions
from dibundle.applying.rewrite import loaded
from dibundle.cli import documents, limits, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.names import path_of
from dibundle.cli.sources import NO_BUNDLE, all_bundles, open_sources
from dibundle.cli.trust import Trust
from dibundle.cli.trust import options as trust_options
from dibundle.codecs.native.library import reuse_memory
from dibundle.files import digest
from dibundle.images.archive import Archive
from dibundle.images.reader import read_images
from dibundle.sources.engines import ENGINES, default_engine


@click.command("load", short_help="Apply a bundle straight into an engine and check that the image is there.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@click.option(
    "--engine",
    type=click.Choice(sorted(ENGINES)),
    help="Default: that of a SOURCE, else docker, podman, ctr.",
)
@click.option("--target", metavar="NAME", help="Which one to load, of a bundle that makes several archives.")
@click.option("--thin", is_flag=True, help="Do not pass on the base's layers, which the engine must have already.")
@limits.max_size
@trust_options
@click.option("--platform", metavar="OS/ARCH", help="Which one to save, of names that an engine is asked for.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    sources: tuple[str, ...],
    engine: str | None,
    target: str | None,
    thin: bool,
    max_size: int,
    platform: str | None,
    tmp: str | None,
    trust: Trust,
    console: Console,
) -> None:
    """Apply a bundle into an engine, then ask the engine whether the image is really there.

    \b
        dib load old.tar update.dib
        dib load --engine podman old.tar update.dib

    The exit code is that of "dib apply" where that fails, else the loader's. The engine is found as its own client
    finds it (DOCKER_HOST, CONTAINERS_STORAGE_CONF, CONTAINERD_ADDRESS, ...).
    """
    reuse_memory()
    progress = console.progress
    with ExitStack() as stack:
        opened = open_sources(sources, stack, trust=trust.check, tmp=tmp, platform=platform)
        options = ApplyOptions(tmp=tmp, max_size=max_size)
        bundles = all_bundles(opened, hint=_without(sources))
        archives, bundle = follow(opened.archives, bundles, options, stack, progress)
        # both concern the last one; those before only lead to it
        options = replace(options, expect=trust.expect, target=target)
        how = LoadOptions(
            engine=engine or default_engine(sources),
            thin=loaded(opened.archives) if thin else None,
            repositories=None if trust.signers else repositories_of(opened.plain_archives),
        )
        describe = partial(_base, opened.archives)
        images = load(archives, bundle, options, how, progress, describe)
    progress.close()
    signed_by = trust.signed_by(bundles)
    document = {"engine": how.engine, "images": documents.images(images), "signed_by": signed_by}
    console.result("dib.load/1", {**document, "seconds": round(console.seconds, 3)})
    console.say_signed(signed_by)
    for image in images:
        names = ", ".join(terminal.escape(name) for name in image.names) or "image"
        console.say(f"{names}: loaded and checked, sha256:{image.id.hex()}, in {console.seconds:.1f} s")


def _base(archives: Sequence[Archive], chains: Sequence[tuple[bytes, ...]]) -> tuple[str, str | None]:
    """Return what to call the image that has layers, and the file that it is in, if any."""
    for archive in archives:
        for image in {
            (image.config_digest, id(image.diff_ids)): image for image in read_images(archive).images
        }.values():
            if any(chain and image.diff_ids[: len(chain)] == chain for chain in chains):
                path = path_of(archive.name)
                name = image.names[0] if image.names else "an image"
                return f"{name} ({digest.text(image.config_digest)[:19]})", path if Path(path).is_file() else None
    return "an image", None


def _without(sources: Sequence[str]) -> str:
    """Return what to do where no source is a bundle: one archive alone needs none."""
    (first, *others) = sources
    if others or not Path(first).is_file():
        return NO_BUNDLE
    return f"an archive is loaded by the engine itself: docker load -i {shlex.quote(first)}"
