"""The help of a command. The help lists the command's own options before the groups of common options."""

from __future__ import annotations

from typing import Final

import click

_OWN: Final = "Options"
_GROUPS: Final = {
    "Trust": (
        *("expect", "allowed-signers", "require-signature", "identity", "signature", "revoked", "verify-time"),
        "max-size",
    ),
    "Engines and registries": ("engine", "platform", "insecure", "max-time", "min-rate", "image", "secret"),
    "General": ("tmp", "quiet", "verbose", "progress", "json", "help"),
}
_GROUP_OF: Final = {name: title for title, names in _GROUPS.items() for name in names}


class Command(click.Command):
    """A command whose options are listed in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options. Each group has its own section."""
        records: dict[str, list[tuple[str, str]]] = {title: [] for title in (_OWN, *_GROUPS)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record:
                records[_GROUP_OF.get(option.opts[-1].removeprefix("--"), _OWN)].append(record)
        width = max(min(len(term), 26) for rows in records.values() for term, _ in rows)
        for title, rows in records.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(term.ljust(width), text) for term, text in rows])
