"""The results of ``dib unwrap`` and ``dib pull``."""

from __future__ import annotations

from dibundle.cli.console import Console
from dibundle.cli.results import documents
from dibundle.errors import human
from dibundle.files import wording
from dibundle.sharing.unwrap import TakenBundle


def show(schema: str, source: str, output: str, taken: TakenBundle, console: Console) -> None:
    """Print the written output."""
    document = {
        **documents.name("source", source),
        **documents.name("output", output),
        "size": taken.size,
        "targets": documents.targets(taken.targets),
    }
    console.result(schema, document)
    if output != "-":
        console.say(f"{wording.escape(output)}: {human(taken.size)}, undamaged")
