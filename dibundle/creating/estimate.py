"""Estimates of a bundle's size and of the time to create it, from a sample of its frames."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dibundle.codecs import decoders
from dibundle.codecs.encode import choose, sample
from dibundle.creating.compose.frames import FrameDraft
from dibundle.creating.compose.recompressed import CarriedLayer
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import open_both
from dibundle.creating.preparing import Prepared, prepare
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.format import writer
from dibundle.format.tables import Frame
from dibundle.images.archive import Archive
from dibundle.sources.access import Access
from dibundle.sources.opening import Source

# if encoding takes at most this many seconds of CPU, every frame is encoded, and the estimate is the actual size
ALL = 1.0
LOOK = 0.2  # time to sample a frame, as a share of the time to encode the frame (approximate)
LOOKS = 0.9  # for any bundle, all samples together may take this many seconds of CPU
SHARE = 0.03  # if encoding takes long, all samples together may take up to this share of the encoding time
LEAST_SAMPLE = 2  # minimum number of sampled frames in each stream
# factor for the maximum time: on an idle machine, one of five image pairs took this many times the expected time
_UNSURE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The expected result of ``create``.

    ``size`` is in bytes. ``sampled`` is the number of ``frames`` that were sampled. ``seconds`` is the expected time of
    ``create`` on an idle machine. ``most_seconds`` is the maximum time under the current load. If ``exact`` is true,
    all frames were encoded, so ``size`` differs from the bundle's size by at most a few bytes. ``carried`` has the
    compressed layers that would be stored unchanged.
    """

    size: int
    seconds: float
    most_seconds: float
    frames: int
    sampled: int
    exact: bool
    base_size: int
    target_size: int
    carried: tuple[CarriedLayer, ...] = ()


@dataclass(slots=True)
class _Guess:
    """The values for a frame: its size at level 1, its cost in seconds of CPU, and its size estimated from a sample."""

    draft: FrameDraft
    hex_digits: bytes
    fast: int = 0
    cost: float = 0.0
    size: float | None = None


def estimate(
    bases: Sequence[Source], targets: Sequence[Source], options: CreateOptions, access: Access, context: Context
) -> Estimate:
    """Match everything as ``create`` does, then sample the content that has to be encoded.

    First, all frames are encoded at level 1, which takes little time. Then, some frames are sampled at the actual
    level. A frame that is larger at level 1 is more likely to be chosen. The same inputs give the same estimate, except
    for the seconds.
    """
    opened_bases, opened_targets = open_both(bases, targets, context, access, raw_layers=options.raw_layers)
    return estimate_opened(opened_bases, opened_targets, options, context)


def estimate_opened(
    bases: Sequence[Archive], targets: Sequence[Archive], options: CreateOptions, context: Context
) -> Estimate:
    """Do the same as :func:`estimate` with open archives."""
    workers = options.workers or os.cpu_count() or 1
    started = time.monotonic()
    with context.within() as own, ThreadPoolExecutor(workers) as threads:
        prepared = prepare(bases, targets, options, threads, own)
        guesses = [_Guess(draft, hex_digits) for _, hex_digits, draft in prepared.drafts()]
        ready = time.monotonic() - started
        own.progress.phase("sampling", sum(guess.draft.size for guess in guesses))
        look = _Look(prepared)
        # start with the largest frames, so that all threads end at about the same time
        largest_first = sorted(guesses, key=lambda guess: -guess.draft.size)
        # plan the relinking for the largest frame now: later, all threads with frames of its file would wait
        if largest_first:
            threads.submit(prepared.plan_ahead, largest_first[0].draft)
        for guess, _ in zip(largest_first, threads.map(look.first, largest_first), strict=True):
            own.progress.advance(guess.draft.size)
        is_little = sum(guess.cost for guess in guesses) <= ALL
        chosen = guesses if is_little else _chosen(guesses)
        expected = sum(guess.cost * (1 if is_little else _share(guess)) for guess in chosen)
        spent = time.process_time()
        list(threads.map(look.encode if is_little else look.closer, chosen))
        spent = time.process_time() - spent
        _fill_in(guesses)
        frames = [_frame(number, guess) for number, guess in enumerate(guesses)]
        head = sum(map(len, writer.write(prepared.manifest(frames), iter(()))))
        speed = spent / expected if expected > ALL / 4 else 1.0
        cost = sum(look.cost(guess, guess.size or 0) for guess in guesses)
        seconds = ready + speed * cost / min(workers, max(1, len(guesses)))
        return Estimate(
            size=head + sum(frame.stored for frame in frames),
            seconds=seconds,
            most_seconds=seconds * max(_UNSURE, 1 + os.getloadavg()[0] / (os.cpu_count() or 1)),
            frames=len(guesses),
            sampled=len(chosen),
            exact=is_little,
            carried=tuple(layer for item in prepared.composed for layer in item.side.carried),
            base_size=sum(archive.bytes.size for archive in bases),
            target_size=sum(archive.bytes.size for archive in targets),
        )


class _Look:
    """A sampler of frames. Its methods may run in any thread."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._effort = prepared.effort

    def first(self, guess: _Guess) -> None:
        """Encode a frame at level 1."""
        target, source, effort, _ = self._prepared.load(guess.draft, guess.hex_digits, planned=False)
        guess.fast = choose.least(target, source, replace(effort, level=1))
        guess.cost = self.cost(guess, guess.fast * (0.5 if source else 0.9))

    def closer(self, guess: _Guess) -> None:
        """Estimate a frame's size from a sample."""
        guess.size = sample.size(*self._prepared.load(guess.draft, guess.hex_digits))

    def encode(self, guess: _Guess) -> None:
        """Encode a frame at the actual level."""
        guess.size = choose.least(*self._prepared.load(guess.draft, guess.hex_digits))

    def cost(self, guess: _Guess, stored: float) -> float:
        """Estimate the seconds of CPU for encoding, from measurements at level 6 on node-app and python-app."""
        size = guess.draft.size + guess.draft.old_size
        if self._effort.level < choose.RELINK_LEVEL:
            return size / 60e6
        return 0.01 + size / 25e6 + stored / 450e3 * (1 if self._effort.level < 9 else 5)


def _share(guess: _Guess) -> float:
    """Estimate the time for sampling a frame, as a share of the time for encoding the frame."""
    if guess.draft.old_size:
        return LOOK
    return min(1.0, max(sample.LEAST, guess.draft.size / sample.SHARE) / max(1, guess.draft.size))


def _chosen(guesses: Sequence[_Guess]) -> list[_Guess]:
    """Return the frames to sample.

    If it takes little time to sample all frames, return all of them. Otherwise, return some frames of each stream.
    """
    total = sum(guess.cost for guess in guesses)
    share = max(SHARE, LOOKS / total) / LOOK
    chosen = [guess for group in _groups(guesses) for guess in _sample(group, share)]
    return sorted(chosen, key=lambda guess: -guess.cost)


def _groups(guesses: Sequence[_Guess]) -> Iterator[list[_Guess]]:
    """Yield the frames of each stream, because frames of the same stream are similar."""
    for stream in sorted({guess.draft.stream for guess in guesses}):
        yield [guess for guess in guesses if guess.draft.stream == stream]


def _sample(group: Sequence[_Guess], share: float) -> list[_Guess]:
    """Return a systematic sample, with equal steps in the running total of the sizes at level 1.

    No frame occurs twice.
    """
    total = sum(guess.fast for guess in group)
    mean = sum(guess.cost * guess.fast for guess in group) / max(1, total)
    count = max(LEAST_SAMPLE, int(share * sum(guess.cost for guess in group) / max(mean, 0.001)))
    if count >= len(group) or share >= 1:
        return list(group)
    found: list[_Guess] = []
    at, step = 0, total / count
    for guess in sorted(group, key=lambda guess: guess.fast):
        at += guess.fast
        if at > (len(found) + 0.5) * step:
            found.append(guess)
            while len(found) < count and at > (len(found) + 0.5) * step:
                found.append(guess)
    return list({id(guess): guess for guess in found}.values())


def _fast(guess: _Guess) -> int:
    return guess.fast


def _fill_in(guesses: Sequence[_Guess]) -> None:
    """Estimate each unsampled frame's size: multiply its size at level 1 by the ratio found for similar frames."""
    for group in _groups(guesses):
        known = sorted((guess for guess in group if guess.size is not None and guess.fast), key=_fast)
        for guess in group:
            if guess.size is None:
                at = bisect_left(known, guess.fast, key=_fast)
                near = known[max(0, at - LEAST_SAMPLE) : at + LEAST_SAMPLE]
                like = sorted(near, key=lambda other: abs(other.fast - guess.fast))[:LEAST_SAMPLE]
                ratio = sum((item.size or 0) / item.fast for item in like) / max(1, len(like)) if like else 1.0
                guess.size = ratio * guess.fast


def _frame(number: int, guess: _Guess) -> Frame:
    """Return a frame for the manifest. Fields that do not change the manifest's size have arbitrary values."""
    draft = guess.draft
    patched = bool(draft.old)
    return Frame(
        stream=draft.stream,
        codec=decoders.COVER,
        stored=int(guess.size or 0),
        size=draft.size,
        digest=digest.sha256(number.to_bytes(8, "big")),
        implied=patched and draft.implied,
        source_size=sum(item.length for item in draft.old),
        sources=tuple(draft.old) if patched and not draft.implied else (),
    )
