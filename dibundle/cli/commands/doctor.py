"""``dib doctor``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import click

from dibundle import __version__
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.option_groups import Command
from dibundle.files import wording
from dibundle.inspecting.doctor import DoctorCheck, checks

_MARKS = {"ok": "ok", "missing": "-", "broken": "!"}


@click.command("doctor", cls=Command, short_help="Check what works on this machine.")
@click.option("--tmp", metavar="DIR", help="Folder for temporary files. Default: $TMPDIR, else /var/tmp.")
@console_options(progress=False)
def command(tmp: str | None, console: Console) -> None:
    """Check libraries, encoders, disk, policy, tools and engines on this machine, and show how to fix what fails.

    The policy (/etc/dib/policy.toml) and the files of signers are read in the same way as by other commands. The exit
    code is 3 if "dib create" or "dib apply" cannot work here, else 0.
    """
    found = list(checks(tmp, os.environ.get("DIB_ALLOWED_SIGNERS")))
    ok = all(check.state == "ok" for check in found if check.vital)
    document = {
        "ok": ok,
        "version": __version__,
        "python": found[0].found,
        "checks": [
            {"name": item.name, "state": item.state, "found": item.found, "means": item.means, "hint": item.hint}
            for item in found
        ],
    }
    console.answer("dib.doctor/1", document, _lines(found, ok=ok))
    if not ok:
        click.get_current_context().exit(3)


def _lines(found: Sequence[DoctorCheck], *, ok: bool) -> Iterator[str]:
    yield f"dib {__version__}"
    for check in found:
        yield f"{_MARKS[check.state]:>2}  {check.name:11} {wording.escape(check.found)}"
        if check.means:
            yield f"    {'':11} {check.means}" + (f"; {wording.escape(check.hint)}" if check.hint else "")
    yield "create and apply work" if ok else "create or apply cannot work"
