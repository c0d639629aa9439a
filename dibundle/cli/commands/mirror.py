"""``dib mirror``."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dibundle.cli.console import Console
from dibundle.cli.option_groups import Command
from dibundle.cli.session import session
from dibundle.cli.size import read_size
from dibundle.codecs.native.library import share_memory
from dibundle.errors import FileError, UsageError, human, install_hint
from dibundle.files.context import Context
from dibundle.sharing.mirror import messages
from dibundle.sharing.mirror.options import HERE, MirrorOptions, Prefer, parse_listen, parse_stores, parse_upstreams
from dibundle.sources.access import Access

if TYPE_CHECKING:
    from dibundle.sharing.mirror.server import Mirror

_SIZE = 20 << 30
_COLLECTIONS = (1000, 10, 10)
"""Objects between two garbage collections: fewer than in other commands, to free errors that hold megabytes soon."""


@click.command("mirror", cls=Command, short_help="Run a local registry mirror that fetches deltas.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="[NAME=]HOST", help="Registry to mirror; may be repeated."
)
@click.option("--cache", metavar="DIR", required=True, help="Folder for blobs.")
@click.option(
    "--cache-size", type=read_size, default=_SIZE, metavar="SIZE", help="Maximum size of the cache. Default: 20G."
)
@click.option("--prune", is_flag=True, help="Shrink the cache to --cache-size and end.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=f"{HERE.host}:{HERE.port}",
    help=f"Address to listen on. Default: {HERE.host}:{HERE.port}.",
)
@click.option(
    "--make-timeout",
    type=click.FloatRange(0, 3600),
    default=60.0,
    metavar="SECONDS",
    help="Maximum seconds to rebuild a layer; after that, the layer is fetched. Default: 60.",
)
@click.option(
    "--prefer",
    type=click.Choice(("speed", "bytes")),
    default="speed",
    help="Use deltas if they are faster (speed), or if they have fewer bytes (bytes). Default: speed.",
)
@click.option("--serve-private", is_flag=True, help="Use the logins of this machine, for all clients.")
@click.option("--tls-cert", metavar="FILE", help="TLS certificate.")
@click.option("--tls-key", metavar="FILE", help="Key of the certificate.")
@click.option("--insecure-listen", is_flag=True, help="Allow listening without TLS on addresses other than loopback.")
@click.option(
    "--store",
    "stores",
    multiple=True,
    metavar="[NAME=]DIR",
    help="Folder with an engine's blobs, to use as bases; may be repeated.",
)
@session(signatures=True, progress=False)
def command(
    upstreams: tuple[str, ...],
    cache: str,
    cache_size: int,
    prune: bool,
    listen: str,
    make_timeout: float,
    prefer: Prefer,
    serve_private: bool,
    tls_cert: str | None,
    tls_key: str | None,
    insecure_listen: bool,
    stores: tuple[str, ...],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Run a local registry that fetches images as deltas, for docker, containerd and podman.

    \b
        dib mirror --upstream registry.example --cache /var/lib/dib
        docker pull 127.0.0.1:5055/registry.example/app:2

    If an image has bundles ("dib push"), the mirror fetches the cheapest chain of bundles, and rebuilds layers with the
    same digests. If there are no bundles, or fetching the layers is faster, the mirror fetches the layers.

    An upstream with a port needs a name: --upstream site=registry.internal:5000.
    """
    if (tls_cert is None) != (tls_key is None):
        raise UsageError(messages.MIRROR_CERTIFICATE)
    if prune:
        _prune(Path(cache), cache_size, console)
        return
    share_memory()
    gc.set_threshold(*_COLLECTIONS)
    address = parse_listen(listen)
    if not (address.is_local or insecure_listen or tls_cert):
        raise UsageError(messages.MIRROR_INSECURE_LISTEN, address=listen)
    named = parse_upstreams(upstreams)
    mirror = _mirror(
        MirrorOptions(
            upstreams=named,
            cache=Path(cache),
            cache_size=cache_size,
            listen=address,
            make_timeout=make_timeout,
            prefer=prefer,
            is_private=serve_private,
            stores=parse_stores(stores, named),
            certificate=(tls_cert, tls_key) if tls_cert and tls_key else None,
        ),
        access,
    )
    from dibundle.sharing.mirror.server import serve

    context.defer(mirror.close)
    scheme = "https" if tls_cert else "http"
    serve(
        mirror,
        ready=lambda port: console.say(f"mirror: {scheme}://{address._replace(port=port).address}, cache {cache}"),
    )


def _mirror(options: MirrorOptions, access: Access) -> Mirror:
    try:
        from dibundle.sharing.mirror.server import Mirror, log_line
    except ModuleNotFoundError as missing:
        name = missing.name or ""
        raise FileError(messages.MIRROR_LIBRARIES, missing=name, hint=install_hint("'dibundle[mirror]'")) from missing
    return Mirror(options, access, log_line)


def _prune(folder: Path, size: int, console: Console) -> None:
    from dibundle.sharing.mirror.cache import Cache

    cache = Cache(folder, shutil.disk_usage(folder).total if folder.is_dir() else size)
    try:
        gone = cache.prune(size)
    finally:
        cache.close()
    console.say(f"{human(gone)} removed, {human(cache.size)} left in {folder}")
