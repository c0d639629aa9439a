"""The option that limits what bundles may make; shared by the commands that make it."""

from __future__ import annotations

import click

from dibundle.applying.pipeline import MAX_TARGET

max_size = click.option(
    "--max-size",
    type=click.IntRange(min=0),
    default=MAX_TARGET,
    metavar="BYTES",
    help="Largest archive that a bundle may make. Default: 1 TiB.",
)
