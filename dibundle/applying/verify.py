"""The verification of a bundle.

Its bytes are checked. If the needed bases are given, its targets are also rebuilt, but not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dibundle.applying import messages
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_targets
from dibundle.applying.targets import MadeTarget, made_targets
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.format.output import Piece
from dibundle.format.reader import BundleReader
from dibundle.images.archive import Archive
from dibundle.sources.access import Access
from dibundle.sources.bundles import check_integrity
from dibundle.sources.opening import Source, open_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """A valid bundle: its size in bytes, its targets and its signers.

    ``rebuilt`` is true if all targets were rebuilt. ``is_signed`` is true if the bundle has a signature. If
    ``signed_by`` is empty, the signature was not checked.
    """

    size: int
    rebuilt: bool
    targets: tuple[MadeTarget, ...]
    signed_by: tuple[str, ...]
    is_signed: bool


def verify(
    bundle: Source, bases: Sequence[Source], options: RebuildOptions, access: Access, context: Context
) -> VerifyResult:
    """Check every byte of a bundle against its header.

    If bases are given or no base is needed, also rebuild all targets. Raises the same errors as applying a bundle.
    """
    opened = open_sources([bundle, *bases], access, context, bundle_first=True)
    reader = opened.read_bundle()
    full = bool(bases) or not reader.manifest.needed()
    if options.expect and not full:
        raise UsageError(messages.VERIFY_EXPECT_WITHOUT_BASE)
    if full:
        check_rebuild(opened.archives, reader, options, context)
    else:
        check_integrity(reader, context.progress)
    return VerifyResult(
        size=reader.size,
        rebuilt=full,
        targets=made_targets(reader.manifest),
        signed_by=opened.signatures.signed_by([reader]),
        is_signed=bool(reader.signature),
    )


def check_rebuild(bases: Sequence[Archive], bundle: BundleReader, options: RebuildOptions, context: Context) -> None:
    """Rebuild every target without output, and check all digests, including the digests of whole archives."""
    sinks = dict.fromkeys(range(len(bundle.manifest.targets)), _nowhere)
    rebuild_targets(bases, bundle, sinks, options, context, whole=True)


def _nowhere(piece: Piece) -> None:
    del piece
