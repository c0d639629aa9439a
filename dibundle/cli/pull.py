"""``dib pull``."""

from __future__ import annotations

import shlex

import click

from dibundle.cli import messages, registries
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.trust import Trust, signature_options
from dibundle.cli.unwrap import write_bundle
from dibundle.errors import UsageError


@click.command("pull", short_help="Fetch a bundle from a registry.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option("-o", "--output", metavar="OUT", required=True, help="The bundle to write, whole or not at all.")
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(name: str, output: str, tmp: str | None, trust: Trust, console: Console) -> None:
    """Write a bundle that is in a registry, pushed by "dib push" or wrapped as an image, after checking it.

    \b
        dib pull docker://registry.example/app:1-2 -o update.dib
    """
    if not registries.is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_NAME, name=name)
    hint = f"to get an image: dib update {shlex.quote(name)} -o new.tar"
    write_bundle(name, output, tmp, trust, console, "dib.pull/1", hint=hint)
