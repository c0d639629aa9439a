"""``dib demo``."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from dibundle.applying.options import RebuildOptions
from dibundle.applying.pipeline import ApplyOptions, apply
from dibundle.applying.verify import verify
from dibundle.cli import messages
from dibundle.cli.commands.demo_images import archives
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.option_groups import Command
from dibundle.cli.results import documents
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import create
from dibundle.errors import UsageError
from dibundle.files import wording
from dibundle.files.context import Context
from dibundle.files.destination import Destination
from dibundle.sources.access import Access


@click.command("demo", cls=Command, short_help="Run the whole job on two small generated images.")
@click.option("--keep", metavar="DIR", help="Write the files to DIR, and keep them.")
@console_options(progress=False)
def command(keep: str | None, console: Console) -> None:
    """Generate two small image archives, then create, apply and verify the bundle between them."""
    access = Access(checks_signatures=False)  # the demo creates its bundles itself
    with Context(progress=console.progress) as context:
        folder = Path(keep or context.enter(tempfile.TemporaryDirectory(prefix="dib-demo-")))
        if folder.exists() and not folder.is_dir():
            raise UsageError(messages.OUTPUT_FOLDER_IS_FILE, folder=folder)
        folder.mkdir(parents=True, exist_ok=True)
        old, new, bundle, result = (folder / name for name in ("old.tar", "new.tar", "update.dib", "result.tar"))
        for path in (old, new, bundle, result):
            if path.exists():
                raise UsageError(messages.OUTPUT_EXISTS, path=path)
        for path, data in zip((old, new), archives(), strict=True):
            with path.open("xb") as file:
                file.write(data)
        say: Callable[[str], None] = _silent if console.json else click.echo
        say(
            "Two releases of a made-up service, as docker save writes them"
            + (f", in {wording.escape(keep)}:" if keep else " (--keep DIR leaves the files there):")
        )
        _print_size(say, old, "shop:1.4.2")
        _print_size(say, new, "shop:1.5.0")

        say("\n$ dib create old.tar new.tar update.dib")
        started = time.monotonic()
        made = create([str(old)], [str(new)], Destination(str(bundle)), CreateOptions(), access, context)
        _print_size(say, bundle, f"{wording.times(made.target_size, made.size)}, {time.monotonic() - started:.1f} s")

        say("\n$ dib apply old.tar update.dib -o result.tar")
        apply([str(old), str(bundle)], Destination(str(result)), ApplyOptions(), access, context)
        _print_size(say, result, "")

        say("\n$ dib verify update.dib --base old.tar")
        verify(str(bundle), [str(old)], RebuildOptions(), access, context)
        same = hashlib.sha256(new.read_bytes()).digest() == hashlib.sha256(result.read_bytes()).digest()
        say(f"  result.tar is new.tar, byte for byte: {'yes' if same else 'NO'}")
        say(
            "\nWith your own images:\n"
            "  docker save -o old.tar app:1 && docker save -o new.tar app:2\n"
            "  dib create old.tar new.tar update.dib          # here\n"
            "  dib apply old.tar update.dib | docker load     # there; old.tar may be saved there, by any engine"
        )
        sizes = {path.name: path.stat().st_size for path in (old, new, bundle, result)}
        console.result("dib.demo/1", {**documents.name("folder", str(folder)), "sizes": sizes, "same": same})
        if not same:
            click.get_current_context().exit(1)


def _silent(text: str) -> None:
    del text


def _print_size(say: Callable[[str], None], path: Path, note: str) -> None:
    say(f"  {path.name:10} {path.stat().st_size:>12,} bytes" + (f"  {note}" if note else ""))
