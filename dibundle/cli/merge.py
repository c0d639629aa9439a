"""``dib merge``."""

from __future__ import annotations

from contextlib import ExitStack

import click

from dibundle.applying.chain import follow, make_all
from dibundle.applying.pipeline import ApplyOptions
from dibundle.cli import limits, messages, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.create import WithLevels, default_level, document, level_option
from dibundle.cli.sources import all_bundles, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.codecs.encode import choose
from dibundle.creating.pipeline import CreateOptions, create
from dibundle.errors import UsageError
from dibundle.files.destination import Destination


@click.command("merge", cls=WithLevels, short_help="Make one bundle of several that build on each other.")
@click.argument("sources", nargs=-1, metavar="SOURCE...", required=True)
@click.option("-o", "--output", metavar="OUT", required=True, help="The bundle to write.")
@level_option
@limits.max_size
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    sources: tuple[str, ...],
    output: str,
    level: int | None,
    max_size: int,
    tmp: str | None,
    trust: Trust,
    console: Console,
) -> None:
    """Make one bundle of a chain of bundles, with the base that the first of them needs.

    \b
        dib merge v1.tar v1-v2.dib v2-v3.dib -o v1-v3.dib

    What the chain makes is rebuilt into a temporary file and compared with the base anew: what one bundle adds and the
    next one drops is not in the result.
    """
    progress = console.progress
    options = ApplyOptions(tmp=tmp, max_size=max_size)
    with ExitStack() as stack:
        destination = Destination(output)
        console.keep_stdout(destination)
        opened = open_sources(sources, stack, trust=trust.check, tmp=tmp)
        opened.ask_engines()  # to compare anew takes all of an image
        opened.refuse_overwriting(destination)
        if len(opened.bundles) < 2:
            raise UsageError(messages.MERGE_ONE_BUNDLE, bundles_count=terminal.count(len(opened.bundles), "bundle"))
        archives, last = follow(opened.archives, all_bundles(opened), options, stack, progress)
        targets = make_all(last, archives, options, stack, progress)
        patch = choose.Options(level=level or default_level(progress))
        with destination:
            result = create(opened.archives, targets, destination.write, CreateOptions(patch=patch, tmp=tmp), progress)
    console.result("dib.merge/1", document(output, result, console.seconds))
    console.say(
        f"{terminal.escape(output)}: {terminal.human(result.size)} for {terminal.human(result.target_size)},"
        f" in {console.seconds:.1f} s"
    )
