"""``dib update``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dibundle.cli import documents
from dibundle.cli.console import Console, Document
from dibundle.cli.session import max_size, session
from dibundle.files import digest, wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access
from dibundle.sources.engines import ENGINES

if TYPE_CHECKING:
    from dibundle.sharing.update import UpdateResult
    from dibundle.sharing.ways import UpdatePlan


@click.command("update", short_help="Get an image from a registry by the deltas to it that are there.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option("--have", "haves", multiple=True, metavar="IMAGE", help="What is here; what is absent is passed over.")
@click.option(
    "--engine", type=click.Choice(sorted(ENGINES)), help="Default: that of an IMAGE, else docker, podman, ctr."
)
@click.option("-o", "--output", metavar="FILE", help="Write the image archive there instead of loading it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@max_size
@session(signatures=True, expect=True, platform="Which image to get where a name stands for several.")
def command(
    name: str,
    haves: tuple[str, ...],
    engine: str | None,
    output: str | None,
    dry_run: bool,
    max_size: int,
    expect: frozenset[bytes],
    access: Access,
    context: Context,
    console: Console,
) -> None:
    """Get an image from a registry, by the bundles there that lead to it from what is here ("dib push").

    \b
        dib update docker://registry.example/app:2 --have docker-daemon:app:1
        dib update docker://registry.example/app:2 --have old.tar -o new.tar

    Of all chains of bundles that of the fewest bytes is taken, or the image itself where that is less. What comes out
    must be the very image under that name, else nothing is loaded. With --allowed-signers a bundle that none of them
    signed is passed over (--dry-run does not fetch any, and cannot tell), and the image itself is never fetched.
    """
    from dibundle.sharing.update import UpdateOptions, plan_update, update  # needs urllib3

    options = UpdateOptions(engine=engine, expect=expect, max_size=max_size)
    destination = Destination(output) if output is not None else None
    if destination:
        console.keep_stdout(destination)
    if dry_run:
        _print(name, plan_update(name, haves, destination, options, access, context), console)
        return
    with context:
        result = update(name, haves, destination, options, access, context)
    _print_result(name, result, console)


def _print_result(name: str, result: UpdateResult, console: Console) -> None:
    """Say what was fetched, and where the image is now."""
    image, plan = result.image, result.plan
    found = {"image": documents.image(image), "signed_by": result.signed_by}
    if plan is None:
        document = {"name": name, "how": "here", "size": 0, "image_size": 0, "bundles": [], "written": False}
        console.result("dib.update/1", {**document, **found})
        console.say(f"{name}: {digest.text(image.id)} is here already")
        return
    written = result.engine is None
    document = {**_document(name, plan), "size": result.fetched, "written": written, **found}
    console.result("dib.update/1", document)
    console.say_signed(result.signed_by)
    how = wording.count(len(plan.chain), "bundle") if plan.chain else "the image itself"
    if result.refused:
        how += f" and {result.refused} passed over"
    done = "written" if written else f"loaded into {result.engine} and checked"
    console.say(
        f"{name}: {wording.human(result.fetched)} fetched, {how}; {done}, {digest.text(image.id)},"
        f" in {console.seconds:.1f} s"
    )


def _document(name: str, plan: UpdatePlan) -> Document:
    """Return what is fetched."""
    bundles = [{"digest": digest.text(step.delta.manifest), "size": step.delta.told.size} for step in plan.chain or ()]
    return {
        "name": name,
        "how": "image" if plan.chain is None else "bundles",
        "size": plan.size,
        "image_size": plan.pull_size,
        "bundles": bundles,
    }


def _print(name: str, plan: UpdatePlan, console: Console) -> None:
    """Say what would be fetched, one line for each step and one for the other way."""
    lines = [
        f"{number}. bundle {digest.text(step.delta.manifest)}: {wording.human(step.delta.told.size)}"
        for number, step in enumerate(plan.chain or (), 1)
    ]
    image = "the image itself: " + wording.human(plan.pull_size)
    if plan.chain:
        count = wording.count(len(plan.chain), "bundle")
        lines.append(f"{wording.escape(name)}: {count}, {wording.human(plan.size)}, instead of {image}")
    elif plan.chain_size is not None:
        lines.append(f"{wording.escape(name)}: {image}, as bundles are {wording.human(plan.chain_size)}")
    else:
        lines.append(f"{wording.escape(name)}: {image}, as no bundle leads there from here")
    console.answer("dib.update-plan/1", _document(name, plan), lines)
