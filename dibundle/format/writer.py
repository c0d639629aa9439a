"""The writer of bundles. A bundle has a header, an empty signature area, a manifest, and frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dibundle.codecs import zstd
from dibundle.errors import BundleError
from dibundle.files import digest
from dibundle.format import messages
from dibundle.format.constants import MAX_MANIFEST
from dibundle.format.header import Header, encode_signature_area
from dibundle.format.manifest import Manifest
from dibundle.format.program import Cursor

MANIFEST_LEVEL = 19


def write(manifest: Manifest, frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a bundle. ``frames`` are the stored bytes of the manifest's frames, in the same order.

    If readers would refuse the manifest, :class:`BundleError` is raised before the first byte.
    """
    manifest.check_limits()
    encoded = manifest.encode()
    if len(encoded) > MAX_MANIFEST:
        raise BundleError(messages.LIMIT_WRITTEN_MANIFEST, encoded_count=len(encoded), max_manifest=MAX_MANIFEST)
    read = Manifest.decode(encoded, manifest.codecs, manifest.reencoders)  # this check applies all limits of readers
    for target in read.targets:
        Cursor(target.columns, None, [])
    stored = zstd.compress(encoded, MANIFEST_LEVEL)
    yield Header(stored=len(stored), size=len(encoded), digest=digest.sha256(stored)).encode()
    yield encode_signature_area(b"")
    yield stored
    yield from frames
