"""``dib demo``."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from dibundle.applying.pipeline import apply
from dibundle.applying.verify import check_rebuild
from dibundle.cli import documents, messages, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.create import default_level
from dibundle.cli.demo_images import archives
from dibundle.cli.sources import open_archives
from dibundle.codecs.encode import choose
from dibundle.creating.pipeline import CreateOptions, create
from dibundle.errors import UsageError
from dibundle.files.destination import Destination
from dibundle.format.reader import BundleReader


@click.command("demo", short_help="Show the whole job on two small images made on the spot.")
@click.option("--keep", metavar="DIR", help="Leave the files there.")
@console_options(progress=False)
def command(keep: str | None, console: Console) -> None:
    """Make two small image archives, write the bundle between them, apply and verify it. Needs nothing else."""
    with ExitStack() as stack:
        folder = Path(keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="dib-demo-")))
        if folder.exists() and not folder.is_dir():
            raise UsageError(messages.OUTPUT_FOLDER_IS_FILE, folder=folder)
        folder.mkdir(parents=True, exist_ok=True)
        old, new, bundle, result = (folder / name for name in ("old.tar", "new.tar", "update.dib", "result.tar"))
        for path in (old, new, bundle, result):
            if path.exists():
                raise UsageError(messages.OUTPUT_EXISTS, path=path)
        for path, data in zip((old, new), archives(), strict=True):
            path.write_bytes(data)
        say: Callable[[str], None] = _silent if console.json else click.echo
        say(
            "Two releases of a made-up service, as docker save writes them"
            + (f", in {terminal.escape(keep)}:" if keep else " (--keep DIR leaves the files there):")
        )
        _tell_size(say, old, "shop:1.4.2")
        _tell_size(say, new, "shop:1.5.0")

        say("\n$ dib create old.tar new.tar update.dib")
        started = time.monotonic()
        opened = open_archives([str(old), str(new)], stack).archives
        with Destination(str(bundle)) as destination:
            patch = choose.Options(level=default_level(console.progress))
            made = create(opened[:1], opened[1:2], destination.write, CreateOptions(patch=patch))
        _tell_size(say, bundle, f"{terminal.times(made.target_size, made.size)}, {time.monotonic() - started:.1f} s")

        say("\n$ dib apply old.tar update.dib -o result.tar")
        with bundle.open("rb") as stream, Destination(str(result)) as destination:
            apply(opened[:1], BundleReader(stream), destination.write)
        _tell_size(say, result, "")

        say("\n$ dib verify update.dib --base old.tar")
        with bundle.open("rb") as stream:
            check_rebuild(opened[:1], BundleReader(stream))
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


def _tell_size(say: Callable[[str], None], path: Path, note: str) -> None:
    say(f"  {path.name:10} {path.stat().st_size:>12,} bytes" + (f"  {note}" if note else ""))
