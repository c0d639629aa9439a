"""Check whether a target is what the receiver expects. The whole output is checked before any byte of it is released.

The digest in the bundle's header covers the description of the images (section 2 of the manifest). But this digest does
not prove that the description is true. So a target is accepted only because of its content, never because of the
description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.applying import messages
from dibundle.errors import ArchiveError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.files.readat import ReadAt, Spool, copy_chunks
from dibundle.format.manifest import Manifest
from dibundle.format.output import Piece, Sink
from dibundle.format.values import Target

if TYPE_CHECKING:
    from dibundle.images.profile import ArchiveImage, Pool

Expected = str | Iterable[str]
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class UnexpectedError(SignatureError):
    """The error for a target that is not the expected target. The bundle's signature may still be valid."""


class Expectation(NamedTuple):
    """The expected digests for a target: digests of configs, manifests or the archive itself.

    The archive, or every image in it, must have one of the digests in ``images``. If ``images`` is empty, any image is
    accepted. If ``named`` is set, at least one image must have the digest ``named``.
    """

    images: frozenset[bytes] = frozenset()
    named: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.images or self.named)

    @property
    def wanted(self) -> frozenset[bytes]:
        """The accepted digests of an image that is written to a separate archive."""
        return frozenset((self.named,)) if self.named else self.images

    def without_archive(self, archive: bytes) -> Expectation:
        """Return the expectation for the images, without the digest of the archive.

        ``archive`` is the archive's digest.
        """
        return Expectation(
            frozenset() if archive in self.images else self.images, None if self.named == archive else self.named
        )


def parse(text: str) -> bytes:
    """Return the digest in ``sha256:<hex>`` or ``<hex>``.

    All 64 digits are required, because prefixes can be forged.
    """
    found = _DIGEST.fullmatch(text.lower()) if isinstance(text, str) else None  # callers in Python may pass anything
    if not found:
        raise UsageError(messages.EXPECT_NOT_A_DIGEST, found=text)
    return bytes.fromhex(found[1])


def parse_all(expect: Expected | None) -> frozenset[bytes]:
    """Return the digests in one text or in several texts. None gives an empty set."""
    if expect is None:
        return frozenset()
    found = frozenset(map(parse, (expect,) if isinstance(expect, str) else expect))
    if not found:  # an empty list is a mistake of the caller, not a request to check nothing
        raise UsageError(messages.EXPECT_NONE)
    return found


def named_digest(name: str | None) -> bytes | None:
    """If a target's name is a digest, return this digest. Otherwise, return None."""
    found = _DIGEST.fullmatch((name or "").lower())
    return bytes.fromhex(found[1]) if found else None


def refuse_claims(expected: frozenset[bytes], manifest: Manifest, target_index: int) -> None:
    """Raise :class:`UnexpectedError` if the bundle's own description lists an image that is not expected."""
    target = manifest.targets[target_index]
    images = manifest.about.targets[target_index] if manifest.about else ()
    if target.digest in expected or not images:
        return
    refuse_others(expected, (image.id for image in images))


def verified_digests(target: Target) -> dict[tuple[int, int], bytes]:
    """Return the digests of those parts of a target that a rebuild verifies.

    Each key is the start and length of a range in the target.
    """
    found = {}
    at = 0
    for segment in target.segments:
        if segment.digest:
            found[at, segment.length] = segment.digest
        at += segment.length
    return found


class Judgement:
    """The checks of a bundle's targets. The limits for a single target apply to all targets together."""

    def __init__(self, expectation: Expectation, tmp: str | None) -> None:
        self._expectation = expectation
        self._tmp = tmp
        self._pool: Pool | None = None

    def __bool__(self) -> bool:
        return bool(self._expectation)

    def sink(self, target: Target, sink: Sink) -> ExpectationSink:
        """Return a sink that withholds a target until the target is checked, and then passes it on to ``sink``."""
        return ExpectationSink(self, target, sink, self._tmp)

    def judge(self, target: Target, content: ReadAt) -> None:
        """Raise :class:`UnexpectedError` unless the target, or every image in it, is expected.

        The caller has checked all digests of the target, including the digest of the whole archive.
        """
        expectation = self._expectation.without_archive(target.digest)
        if expectation:
            self._judge_images(expectation, target, content)
        elif self._expectation and target.size and content.read_at(0, 1) in b"{[":
            # the target itself is a config or a manifest with this digest, but the caller expects an image
            raise UnexpectedError(messages.EXPECT_AMBIGUOUS, reason="it is a JSON document, and no archive")

    def _judge_images(self, expectation: Expectation, target: Target, content: ReadAt) -> None:
        # imported here, because few calls of apply need this module, and the import takes milliseconds
        from dibundle.images.profile import Judge, Pool

        self._pool = self._pool or Pool()
        judge = Judge(content, verified_digests(target), pool=self._pool)
        try:
            _compare(expectation, judge.images())
            judge.check_layers()
        except ArchiveError as error:
            raise UnexpectedError(messages.EXPECT_AMBIGUOUS, reason=error.message) from error


class ExpectationSink:
    """A sink that keeps a target in a temporary file until the target is checked.

    :meth:`release` then passes the target on. The sink withholds all bytes. Withholding only the tail would not be
    safe, because the bundle chooses where the tail begins.
    """

    def __init__(self, judgement: Judgement, target: Target, sink: Sink, tmp: str | None) -> None:
        self._judgement = judgement
        self._target = target
        self._sink = sink
        self._spool = Spool(tmp)

    def write(self, piece: Piece) -> None:
        """Take the next bytes of the target."""
        self._spool.write(piece)

    def release(self) -> Iterator[None]:
        """Check the target, then pass it on piece by piece.

        Raises :class:`UnexpectedError` unless the target, or every image in it, is expected.
        """
        self._judgement.judge(self._target, self._spool)
        for piece in copy_chunks(self._spool, 0, self._spool.size):
            self._sink(piece)
            yield

    def close(self) -> None:
        """Free the temporary file."""
        self._spool.close()


def _compare(expectation: Expectation, images: Sequence[ArchiveImage]) -> None:
    if expectation.images:
        expected = expectation.images
        pinned = {image.config for image in images if image.manifest in expected}
        others = (image for image in images if image.manifest not in expected)
        refuse_others(
            expected, (image.config for image in others if image.manifest is not None or image.config not in pinned)
        )
        refuse_instructions(image for image in images if image.manifest not in expected)
    named = expectation.named
    if named and not any(named in (image.config, image.manifest) for image in images):
        raise UnexpectedError(messages.EXPECT_CLAIMED_IMAGE, named=digest.text(named))
    refuse_instructions(image for image in images if named == image.config)


def refuse_instructions(images: Iterable[ArchiveImage]) -> None:
    """Raise ``ArchiveError`` for annotations that may change what programs do.

    The digest of a config does not cover annotations.
    """
    for image in images:
        if image.has_instructions:
            raise ArchiveError(messages.EXPECT_ANNOTATIONS, where=image.where)


def refuse_others(expected: frozenset[bytes], found: Iterable[bytes]) -> None:
    """Raise :class:`UnexpectedError` if an image in ``found`` is not an expected image."""
    wrong = sorted(set(found) - expected)
    if wrong:
        raise UnexpectedError(
            messages.EXPECT_OTHER_IMAGE, wrong=_text(wrong[0]), map=" or ".join(map(digest.text, sorted(expected)))
        )


def _text(image_id: bytes) -> str:
    return digest.text(image_id) if image_id else "without an ID"
