"""The results of ``dib apply``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dibundle.cli.console import Console
from dibundle.cli.results import documents
from dibundle.errors import human
from dibundle.files import digest, wording

if TYPE_CHECKING:
    from dibundle.applying.check import CheckedTarget, CheckResult
    from dibundle.applying.pipeline import ApplyResult


def show(result: ApplyResult, console: Console) -> None:
    """Print the written output: the names and sizes of files, or the name of a folder."""
    outputs = [
        {**documents.name("path", item.name), "size": item.size, "target": documents.target(item.target)}
        for item in result.outputs
    ]
    document = {"outputs": outputs, "signed_by": result.signed_by, "seconds": round(console.seconds, 3)}
    console.result("dib.apply/1", document)
    console.say_signed(result.signed_by)
    for item in result.outputs:
        much = f"{human(item.size)}, " if item.size is not None else ""
        shown = "stdout" if item.name == "-" else wording.escape(item.name)
        console.say(f"{shown}: {much}verified, in {console.seconds:.1f} s")


def show_check(result: CheckResult, console: Console) -> None:
    """Print whether each target can be rebuilt. Raise the error of the first target that cannot be rebuilt."""
    here = f"{wording.some(result.here) or 'the base'} {'are' if len(result.here) > 1 else 'is'} here"
    needs = wording.escape(here if result.needs_base else "no base is needed")
    takes = f"about {human(result.memory)} of memory and {max(1, round(result.seconds))} s"
    lines = (_line(needs, target, takes) for target in result.targets)
    if result.error:
        if len(result.targets) > 1:
            console.print_lines(lines)
        raise result.error
    made = [target.target for target in result.targets]
    document = {
        "ok": True,
        "needs": documents.images(result.needed),
        "target": documents.target(made[0]),
        "targets": documents.targets(made),
        "temporary_space": result.temporary,
        "memory": result.memory,
        "seconds": round(result.seconds, 1),
        "signed_by": result.signed_by,
    }
    console.answer("dib.check/1", document, lines)
    console.say_signed(result.signed_by)


def _line(needs: str, target: CheckedTarget, takes: str) -> str:
    if target.error:
        return wording.escape(f"no: {target.name}: {target.error.message}")
    made = wording.some([image.names[0] if image.names else digest.text(image.id) for image in target.target.images])
    return (
        f"ok: {needs}; applying makes {wording.escape(made or 'an image')} (according to the bundle),"
        f" {human(target.target.size)}, in {takes}"
        + (f", with {human(target.temporary)} of temporary space" if target.temporary else "")
    )
