"""What a receiver expects a bundle to make: judged by the output itself, before any of it is let go.

What a bundle says about its images (section 2 of the manifest) is bound by the header but checked against nothing. It
is taken as a reason to refuse, never as a reason to accept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import closing
from typing import Final

from dibundle import digest
from dibundle.archive.opener import Archive, open_made
from dibundle.archive.readat import Spool, copy_chunks
from dibundle.bundle.manifest import Manifest, Target
from dibundle.bundle.output import Piece, Sink
from dibundle.errors import ArchiveError, SignatureError, UsageError
from dibundle.image import docker, document, layout
from dibundle.image.members import Members, normalise
from dibundle.image.reader import read_ids

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_TELLING: Final = frozenset(("config", "layers", "manifests", "digest", "repotags", "mediatype"))


class UnexpectedError(SignatureError):
    """The bundle makes something else than was asked for; it may be rightly signed."""


def parse(text: str) -> bytes:
    """Return the digest in ``sha256:<hex>`` or ``<hex>``; all 64 digits are wanted, fewer can be forged."""
    found = _DIGEST.fullmatch(text.lower())
    if not found:
        raise UsageError(
            f"{text} is no image ID or digest of 64 hex digits",
            hint='"docker inspect --format {{.Id}} IMAGE" shows the whole ID',
        )
    return bytes.fromhex(found[1])


def refuse_claims(expected: frozenset[bytes], manifest: Manifest, target_index: int) -> None:
    """Raise :class:`UnexpectedError` where a bundle itself says that it makes something else."""
    target = manifest.targets[target_index]
    images = manifest.about.targets[target_index] if manifest.about else ()
    if target.digest in expected or not images:
        return
    _refuse_others(expected, (image.id for image in images))


class Judged:
    """A sink that keeps a target in a temporary file until it is judged; :meth:`release` then passes it on.

    The tail that a bundle has withheld is its own choice, so it would not do: here everything is. The target's digests,
    its own among them, are checked by who writes here.
    """

    def __init__(self, expected: frozenset[bytes], target: Target, sink: Sink, tmp: str | None) -> None:
        self._expected = expected
        self._target = target
        self._sink = sink
        self._tmp = tmp
        self._spool = Spool(tmp)

    def write(self, piece: Piece) -> None:
        """Take the next bytes of the target."""
        self._spool.write(piece)

    def release(self) -> None:
        """Pass the target on; :class:`UnexpectedError` unless it, or every image in it, is an expected one."""
        if self._target.digest not in self._expected:
            self._judge()
        for piece in copy_chunks(self._spool, 0, self._spool.size):
            self._sink(piece)

    def _judge(self) -> None:
        try:
            with closing(open_made(self._spool, "what the bundle makes")) as archive:
                _refuse_ambiguous(archive)
                _refuse_others(self._expected, read_ids(archive))
        except ArchiveError as error:
            raise UnexpectedError(f"cannot tell which image the bundle makes: {error.message}") from error

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()


def _refuse_others(expected: frozenset[bytes], found: Iterable[bytes]) -> None:
    wrong = sorted(set(found) - expected)
    if wrong:
        raise UnexpectedError(
            f"the bundle makes image {_text(wrong[0])}, wanted {' or '.join(map(digest.text, sorted(expected)))}",
            hint="ask the sender for the bundle of that image, or correct --expect",
        )


def _text(image_id: bytes) -> str:
    return digest.text(image_id) if image_id else "without an ID"


def _refuse_ambiguous(archive: Archive) -> None:
    """Raise :class:`ArchiveError` for an archive in which another reader could find another image."""
    if archive.compression or archive.index.problem:
        raise ArchiveError(f"its archive is odd: {archive.compression or archive.index.problem}")
    files = [entry for entry in archive.index.entries if entry.is_file]
    names = [normalise(entry.path) for entry in files]
    if len(set(names)) != len(names):
        raise ArchiveError("two of its members have one name")
    members = Members(archive)
    for name in (docker.MANIFEST, layout.INDEX):
        if found := members.find(name):
            document.parse(members.read(found), name.decode())
    for entry in files:
        if entry.size <= document.SIZE_LIMIT and members.head(entry, 1) in (b"{", b"["):
            _refuse_repeated_keys(members.read(entry))


def _refuse_repeated_keys(content: bytes) -> None:
    """Refuse JSON in which a key that tells of images occurs twice, in any case of letters: Go takes the last one."""

    def pairs(items: list[tuple[str, object]]) -> None:
        keys = [key.casefold() for key, _ in items]
        if any(keys.count(key) > 1 for key in _TELLING):
            raise ArchiveError("its JSON says one thing twice")

    try:
        json.loads(content, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return  # no JSON, so no reader finds an image in it
