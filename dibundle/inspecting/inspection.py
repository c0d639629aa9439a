"""The inspection of a bundle: its base and targets, its signer, and the operation on each path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dibundle.applying.base import find_base
from dibundle.applying.options import RebuildOptions
from dibundle.applying.targets import choose_target, target_name
from dibundle.errors import BaseMismatchError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format.manifest import Manifest
from dibundle.format.outline import ListingError
from dibundle.format.reader import BundleReader
from dibundle.format.signing import Signature
from dibundle.format.uses import objects_used
from dibundle.images.archive import Archive
from dibundle.inspecting import messages
from dibundle.inspecting.operations import Line, listing
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A bundle: its size in bytes, its manifest and header, the key in its signature, and its verified signers.

    ``number`` is the index of the target whose paths are in ``lines``. ``number`` is None if there are several targets,
    but none was chosen.
    """

    size: int
    manifest: Manifest
    header_digest: str
    is_signed: bool
    key: str | None
    signed_by: tuple[str, ...]
    number: int | None
    lines: Sequence[Line]

    @property
    def signed(self) -> str:
        """The verified signers if signatures were required, or else the key that the signature names."""
        return signed_text(is_signed=self.is_signed, key=self.key, signed_by=self.signed_by)


def inspect(
    bundle: Source,
    bases: Sequence[Source],
    access: Access,
    context: Context,
    *,
    target: str | None = None,
    lines_wanted: bool = True,
) -> Inspection:
    """Inspect a bundle. With bases, every path has a line.

    ``target`` chooses one of several targets. Without ``lines_wanted``, a listing that is too long is left out, and a
    note says so.
    """
    opened = open_sources([bundle, *bases], access, context, bundle_first=True)
    reader = opened.read_bundle()
    several = len(reader.manifest.targets) > 1
    number: int | None = None
    if target is not None or not several or lines_wanted:
        number = choose_target(reader.manifest, RebuildOptions(target=target))
    lines: list[Line] = []
    try:
        if number is not None:
            lines = lines_with_base(reader, number, opened.archives, context, given=bool(bases))
    except ListingError as error:
        if lines_wanted:
            raise
        context.progress.note(f"the summary lists no paths: {error.message}")
        number = None
    return Inspection(
        size=reader.size,
        manifest=reader.manifest,
        header_digest=digest.text(digest.sha256(reader.header_bytes)),
        is_signed=bool(reader.signature),
        key=signing_key(reader),
        signed_by=opened.signatures.signed_by([reader]),
        number=number,
        lines=lines,
    )


def lines_with_base(
    reader: BundleReader, number: int, archives: Sequence[Archive], context: Context, *, given: bool
) -> list[Line]:
    """Return the lines of a target. If a base is found, use the base.

    If the user has ``given`` a base, it must be the right base.
    """
    if not archives:
        return listing(reader, number)
    used = objects_used(reader.manifest, number)
    try:
        # do not search the content of an archive that contained a bundle, because this archive is perhaps not the base
        base = find_base(reader.manifest, archives, context, [number], believe=not given)
        context.defer(base.close)
        if base.missing(used):
            raise UsageError(messages.BASE_EARLIER_TARGET, target_name=target_name(reader.manifest, number))
        base.prepare(used)
    except BaseMismatchError:
        if given:
            raise
        return listing(reader, number)  # the archive of a wrapped bundle is perhaps not the base
    return listing(reader, number, base, limited=not given)


def signing_key(reader: BundleReader) -> str | None:
    """Return the key that a bundle's signature names. Return None if the signature is missing or malformed."""
    try:
        return Signature.parse(reader.signature).fingerprint if reader.signature else None
    except SignatureError:
        return None


def signed_text(*, is_signed: bool, key: str | None, signed_by: Sequence[str]) -> str:
    """Return a phrase about the signers of a bundle."""
    if signed_by:
        return "by " + ", ".join(signed_by)
    return f"by {key or 'what this dib does not know'}, not checked" if is_signed else "no"
