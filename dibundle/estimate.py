"""How large a bundle will be and how long it will take, from a sample of its frames."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import sqrt

from dibundle import digest
from dibundle.archive.opener import Archive
from dibundle.bundle import writer
from dibundle.bundle.manifest import Frame
from dibundle.compose.frames import Draft
from dibundle.creating import CreateOptions, Prepared, prepare
from dibundle.delta import choose, codecs, layout, sample
from dibundle.progress import Progress, Silent

ALL = 4.0  # seconds of CPU up to which every frame is encoded: the estimate is then the size itself
SHARE = 0.12  # of the time for other frames, that a sample of them may take
LEAST_SAMPLE = 4  # frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What ``create`` would make, about: ``size`` in bytes, ``seconds``; of ``frames``, ``sampled`` were encoded.

    Where all of them were, the size is exact but for a few bytes.
    """

    size: int
    seconds: float
    frames: int
    sampled: int
    base_size: int
    target_size: int


@dataclass(slots=True)
class _Guess:
    """What is known of a frame: by level 1, by a closer look, and what it is thought to cost to encode."""

    draft: Draft
    hex_digits: bytes
    cost: float = 0.0
    fast: int = 0
    size: float | None = None
    encoded: bool = False


def estimate(
    bases: Sequence[Archive],
    targets: Sequence[Archive],
    options: CreateOptions = CreateOptions(),  # noqa: B008 - immutable
    progress: Progress | None = None,
) -> Estimate:
    """Match everything as ``create`` does, then look at a sample of what is to be encoded.

    Frames are encoded at level 1, a fraction of the work; of some, chosen in proportion to that size, the real size
    tells what the level makes of it. Of large programs a sample of the content is relinked. Same inputs, same estimate,
    but for the seconds.
    """
    progress = progress or Silent()
    workers = options.workers or os.cpu_count() or 1
    started = time.monotonic()
    with ExitStack() as stack, ThreadPoolExecutor(workers) as threads:
        prepared = prepare(bases, targets, options, threads, stack, progress)
        guesses = [_Guess(draft, hex_digits) for _, hex_digits, draft in prepared.drafts()]
        ready = time.monotonic() - started
        progress.phase("sampling", sum(guess.draft.size for guess in guesses))
        look = _Look(prepared)
        for guess, _ in zip(guesses, threads.map(look.first, guesses), strict=True):
            progress.advance(guess.draft.size)
        chosen = _chosen([guess for guess in guesses if guess.size is None])
        spent = time.process_time()
        list(threads.map(look.encode, chosen))
        spent = time.process_time() - spent
        _fill_in(guesses)
        frames = [_frame(number, guess) for number, guess in enumerate(guesses)]
        head = sum(map(len, writer.write(prepared.manifest(frames), iter(()))))
        predicted = sum(guess.cost for guess in guesses)
        real = sum(guess.cost for guess in chosen)
        speed = spent / real if real > 1 else 1.0
        return Estimate(
            size=head + sum(frame.stored for frame in frames),
            seconds=ready + speed * predicted / min(workers, max(1, len(guesses))),
            frames=len(guesses),
            sampled=sum(guess.encoded for guess in guesses),
            base_size=sum(archive.bytes.size for archive in bases),
            target_size=sum(archive.bytes.size for archive in targets),
        )


class _Look:
    """Looks at frames, in whichever thread."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._patch = prepared.options.patch

    def first(self, guess: _Guess) -> None:
        """Find out what a frame is at level 1, or by a sample where it is of a large program."""
        target, source, patch, plan = self._prepared.load(guess.draft, guess.hex_digits)
        large = choose.relinks(patch) and len(target) >= sample.LEAST and guess.draft.old
        if large:
            plan = plan or layout.plan(source, target)
            if plan:
                guess.size = sample.relinked_size(source, target, plan, effort=patch.level, model_time=patch.model_time)
        if guess.size is None:
            guess.fast = len(choose.encode(target, source, replace(patch, level=1)).payload)
        guess.cost = _cost(len(target), len(source), guess.fast or guess.size or 0, patch)

    def encode(self, guess: _Guess) -> None:
        """Find out what a frame really is."""
        guess.size = len(choose.encode(*self._prepared.load(guess.draft, guess.hex_digits)).payload)
        guess.encoded = True


def _cost(size: int, source: int, stored: float, patch: choose.Options) -> float:
    """Return about how many seconds encoding takes: measured on node-app and python-app at level 6, within a half."""
    if patch.level < choose.RELINK_LEVEL:
        return size / 30e6
    return 0.05 + (size + source) / 20e6 + 1.1 * sqrt(stored / 50e3) * (1 if patch.level < 9 else 4)


def _chosen(guesses: Sequence[_Guess]) -> list[_Guess]:
    """Return the frames to encode: all where that is little work, else some, those that weigh more rather."""
    if sum(guess.cost for guess in guesses) <= ALL:
        return list(guesses)
    return [guess for group in _groups(guesses) for guess in _sample(group)]


def _groups(guesses: Sequence[_Guess]) -> Iterator[list[_Guess]]:
    """Yield the frames with a source, and those without."""
    for patched in (True, False):
        group = [guess for guess in guesses if bool(guess.draft.old) == patched]
        if group:
            yield group


def _sample(group: Sequence[_Guess]) -> list[_Guess]:
    """Return a systematic sample, by size at level 1: equal steps through all of it, each frame met at most once."""
    total = sum(guess.fast for guess in group)
    mean = sum(guess.cost * guess.fast for guess in group) / max(1, total)
    budget = SHARE * sum(guess.cost for guess in group)
    count = max(LEAST_SAMPLE, int(budget / max(mean, 0.001)))
    found: list[_Guess] = []
    at, step = 0, total / count
    for guess in sorted(group, key=lambda guess: guess.fast):
        at += guess.fast
        if at > (len(found) + 0.5) * step:
            found.append(guess)
            while len(found) < count and at > (len(found) + 0.5) * step:
                found.append(guess)
    return list({id(guess): guess for guess in found}.values())


def _fill_in(guesses: Sequence[_Guess]) -> None:
    """Give the frames that were not looked at closely the size that others like them suggest."""
    for group in _groups(guesses):
        known = sorted((guess for guess in group if guess.encoded and guess.fast), key=lambda guess: guess.fast)
        for guess in group:
            if guess.size is None:
                like = sorted(known, key=lambda other: abs(other.fast - guess.fast))[:LEAST_SAMPLE]
                ratio = sum((item.size or 0) / item.fast for item in like) / max(1, len(like)) if like else 1.0
                guess.size = ratio * guess.fast


def _frame(number: int, guess: _Guess) -> Frame:
    """Return a frame as it goes into the manifest; what takes no more or fewer bytes there is made up."""
    draft = guess.draft
    patched = bool(draft.old)
    return Frame(
        stream=draft.stream,
        codec=codecs.COVER,
        stored=int(guess.size or 0),
        size=draft.size,
        digest=digest.sha256(number.to_bytes(8, "big")),
        implied=patched and draft.implied,
        source_size=sum(item.length for item in draft.old),
        sources=tuple(draft.old) if patched and not draft.implied else (),
    )
