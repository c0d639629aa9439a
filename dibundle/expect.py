"""What a receiver expects a bundle to make: judged by the output itself, before its tail is let go.

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
from dibundle.archive.kept import Kept
from dibundle.archive.opener import Archive, from_fd
from dibundle.archive.readat import Spool, check_room
from dibundle.archive.tar import Entry
from dibundle.bundle.manifest import Manifest, Target
from dibundle.errors import ArchiveError, SignatureError, UsageError
from dibundle.image import document
from dibundle.image.members import Members, normalise
from dibundle.image.reader import read_ids

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SIDE: Final = document.SIZE_LIMIT  # what is larger is not read as JSON, and need not be kept
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


class Watch:
    """Looks at a target as it is made; :meth:`check` judges it. The target's own digests are checked by others.

    A temporary file holds the outer archive's headers and small members.
    """

    def __init__(self, expected: frozenset[bytes], target: Target, tmp: str | None) -> None:
        self._expected = expected
        self._tmp = tmp
        self._holes = list(_large(target))
        check_room(tmp, target.size - sum(end - start for start, end in self._holes))
        self._spool = Spool(tmp)
        self._kept = Kept(self._spool, self._holes)

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the target."""
        self._kept.write(piece)

    def check(self) -> None:
        """Raise :class:`UnexpectedError` unless every image in the target is an expected one."""
        try:
            with closing(from_fd(self._spool.start(), "what the bundle makes", spool_dir=self._tmp)) as archive:
                _refuse_ambiguous(archive, self._holes)
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


def _large(target: Target) -> Iterable[tuple[int, int]]:
    """Yield start and end of the segments that are large members, layers most often."""
    at = 0
    for segment in target.segments:
        if segment.digest and segment.length > _SIDE:
            yield at, at + segment.length
        at += segment.length


def _refuse_ambiguous(archive: Archive, holes: list[tuple[int, int]]) -> None:
    """Raise :class:`ArchiveError` for an archive in which another reader could find another image."""
    if archive.compression or archive.index.problem:
        raise ArchiveError(f"its archive is odd: {archive.compression or archive.index.problem}")
    files = [entry for entry in archive.index.entries if entry.is_file]
    _require_within(files, holes)
    names = [normalise(entry.path) for entry in files]
    if len(set(names)) != len(names):
        raise ArchiveError("two of its members have one name")
    members = Members(archive)
    for entry in files:
        if entry.size <= _SIDE and members.head(entry, 1) in (b"{", b"["):
            _refuse_repeated_keys(members.read(entry))


def _require_within(files: list[Entry], holes: list[tuple[int, int]]) -> None:
    """Make sure that only members' content was left out, so that headers are read as they are."""
    ends = {entry.content: entry.content + entry.size for entry in files}
    for start, end in holes:
        if ends.get(start, 0) < end:
            raise ArchiveError("its segments are not its members")


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
