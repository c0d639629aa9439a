"""The creation of a bundle: read both sides, match, compose the programs, encode the frames, and write the file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from dibundle.codecs import pieces
from dibundle.codecs.encode import choose
from dibundle.creating import messages
from dibundle.creating.compose.frames import FrameDraft
from dibundle.creating.compose.layer import Counts
from dibundle.creating.compose.recompressed import CarriedLayer
from dibundle.creating.options import CreateOptions
from dibundle.creating.preparing import Prepared, prepare
from dibundle.creating.raw_layers import with_raw_layers
from dibundle.errors import UsageError, shell_words
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.destination import Destination, Output
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool
from dibundle.format import writer
from dibundle.format.constants import MAGIC
from dibundle.format.manifest import Manifest
from dibundle.format.tables import Frame
from dibundle.images.archive import Archive
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_archives
from dibundle.sources.parts import PartsWriter

AHEAD: Final = 2  # maximum frames per worker that are waiting or being encoded
PATCHING: Final = 2  # a byte of a frame's source takes as much time as this many bytes of the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResult:
    """The result of creating: sizes in bytes, counts of operations, and the manifest.

    ``carried`` has the compressed layers that are stored unchanged, because no encoder reproduces them.
    """

    size: int
    base_size: int
    target_size: int
    manifest_size: int
    counts: Counts
    manifest: Manifest
    timings: Timings
    carried: tuple[CarriedLayer, ...] = ()


class Timings(NamedTuple):
    """Wall-clock seconds for reading, matching and writing (without encoding), and CPU seconds for each frame.

    The entries of ``frames`` have the same form as in :class:`pieces.Trace`. The entries are empty if the caller's
    executor encoded the frames.
    """

    other: float
    frames: tuple[Steps, ...]


Steps = tuple[float | list[float], ...]


class _Encoded(NamedTuple):
    """A frame, the offset of its payload in the temporary file, and its steps as in :class:`Timings`."""

    frame: Frame
    at: int
    steps: Steps


def create(
    bases: Sequence[Source],
    targets: Sequence[Source],
    output: Output,
    options: CreateOptions,
    access: Access,
    context: Context,
    *,
    executor: Executor | None = None,
) -> CreateResult:
    """Write a bundle that rebuilds ``targets`` from the images in ``bases``.

    Without ``bases``, the bundle needs no base. Each target may build on earlier targets. If an ``executor`` is given,
    it encodes the frames. The executor gets only :func:`choose.encode` and bytes. So the executor may use other
    processes, or other machines with the same libraries. At most ``workers`` frames are submitted at a time. Raises
    :class:`ArchiveError` if an input is not an image archive, and :class:`FileError` if the system refuses an
    operation.
    """
    opened_bases, opened_targets = open_both(bases, targets, context, access, output, raw_layers=options.raw_layers)
    refuse_other(output)
    with output:
        return write_bundle(opened_bases, opened_targets, output.write, options, context, executor=executor)


def open_both(
    bases: Sequence[Source],
    targets: Sequence[Source],
    context: Context,
    access: Access,
    output: Output | None = None,
    *,
    raw_layers: bool = False,
) -> tuple[list[Archive], list[Archive]]:
    """Open both sides. Report as notes which parts are ignored or stored unchanged.

    If ``raw_layers`` is true and a target has compressed layers, replace the target by the same images with raw layers.
    """
    if not targets:
        raise UsageError(messages.SOURCE_NO_TARGET)
    opened = open_archives([*bases, *targets], access, context)
    if output is not None:
        there = output.there() if isinstance(output, PartsWriter) else [(output.name, output.identity)]
        for name, identity in there:
            opened.refuse_overwriting(name, identity)
    for archive in opened.archives:
        if archive.compression:
            context.progress.note(f"{archive.name}: {archive.compression} is removed, and the tar inside is used")
        if archive.index.problem and not archive.index.is_cut_short:
            context.progress.note(f"{archive.name}: {archive.index.problem}; stored unchanged")
    opened_bases, opened_targets = opened.archives[: len(bases)], opened.archives[len(bases) :]
    if raw_layers:
        opened_targets = [with_raw_layers(archive, context) for archive in opened_targets]
    return opened_bases, opened_targets


def refuse_other(output: Output) -> None:
    """Refuse to overwrite a file that is not a bundle. Otherwise ``dib create *.tar`` would overwrite an archive."""
    if not isinstance(output, Destination) or output.identity is None or output.descriptor is not None:
        return
    if Path(output.name).is_file():
        with Path(output.name).open("rb") as file:
            head = file.read(len(MAGIC))
        if head not in (b"", MAGIC):
            raise UsageError(messages.OUTPUT_IS_OTHER, out=output.name, quoted=shell_words(output.name))


def write_bundle(
    bases: Sequence[Archive],
    targets: Sequence[Archive],
    write: Callable[[bytes], object],
    options: CreateOptions,
    context: Context,
    *,
    executor: Executor | None = None,
    most_unpacked: int | None = None,
) -> CreateResult:
    """Do the same as :func:`create` with open archives. Pass the bundle to ``write`` piece by piece.

    If targets may be hostile, ``most_unpacked`` is the maximum size of the temporary files for their layers.
    """
    workers = options.workers or os.cpu_count() or 1
    begun = time.monotonic()
    with context.within() as own, ThreadPoolExecutor(workers) as threads:
        prepared = prepare(bases, targets, options, threads, own, most_unpacked)
        spool = own.spool()
        prepared_at = time.monotonic()
        encoded = _encode(prepared, executor, workers, spool, own.progress)
        encoding = time.monotonic() - prepared_at
        frames = [item.frame for item in encoded]
        manifest = prepared.manifest(frames)
        size = 0
        for piece in writer.write(manifest, _stored(encoded, spool)):
            write(piece)
            size += len(piece)
        return CreateResult(
            size=size,
            base_size=sum(archive.bytes.size for archive in bases),
            target_size=sum(archive.bytes.size for archive in targets),
            manifest_size=size - sum(frame.stored for frame in frames),
            counts=prepared.counts,
            manifest=manifest,
            carried=tuple(layer for item in prepared.composed for layer in item.side.carried),
            timings=Timings(time.monotonic() - begun - encoding, tuple(item.steps for item in encoded)),
        )


def _encode(
    prepared: Prepared, executor: Executor | None, workers: int, spool: Spool, progress: Progress
) -> list[_Encoded]:
    """Encode the frames of all targets on all workers. At most ``workers`` decoded frames are in memory.

    The largest frames are encoded first, so that at the end no worker waits for a large frame. Payloads are written to
    ``spool`` in the order of completion.
    """
    drafts = prepared.drafts()
    progress.phase("encoding", sum(draft.size for _, _, draft in drafts))
    done: dict[int, _Encoded] = {}
    running: dict[Future[choose.Encoded], int] = {}
    steps: dict[int, Steps] = dict.fromkeys(range(len(drafts)), ())
    crew = pieces.Crew(prepared.threads, workers)

    def encode(number: int) -> choose.Encoded:
        _, hex_digits, draft = drafts[number]
        with crew.at_work() as trace:
            encoded = choose.encode(*prepared.load(draft, hex_digits))
        steps[number] = tuple(trace.steps)
        return encoded

    def submit(number: int) -> Future[choose.Encoded]:
        if executor is None:
            return prepared.threads.submit(encode, number)  # encode() also reads the content
        _, hex_digits, draft = drafts[number]
        return executor.submit(choose.encode, *prepared.load(draft, hex_digits))

    def collect() -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            number = running.pop(future)
            item, _, draft = drafts[number]
            encoded = future.result()
            item.reencoders |= encoded.reencoders
            frame = _frame(draft, encoded.codec, encoded.payload)
            done[number] = _Encoded(frame, spool.size, steps[number])
            spool.write(encoded.payload)
            progress.advance(draft.size)

    for number in sorted(range(len(drafts)), key=lambda number: -_work(drafts[number][2])):
        if len(running) == (AHEAD * workers if executor is None else workers):
            collect()
        running[submit(number)] = number
    while running:
        collect()
    return [done[number] for number in range(len(drafts))]


def _work(draft: FrameDraft) -> int:
    """Return the relative time to encode a frame, including the time to compare the content with its source."""
    return draft.size + PATCHING * sum(item.length for item in draft.old)


def _frame(draft: FrameDraft, codec: int, payload: bytes) -> Frame:
    needs_source = codec in choose.WITH_SOURCE
    return Frame(
        stream=draft.stream,
        codec=codec,
        stored=len(payload),
        size=draft.size,
        digest=digest.sha256(payload),
        implied=needs_source and draft.implied,
        source_size=sum(item.length for item in draft.old) if needs_source else 0,
        sources=tuple(draft.old) if needs_source and not draft.implied else (),
    )


def _stored(frames: Iterable[_Encoded], spool: Spool) -> Iterator[bytes]:
    for item in frames:
        yield spool.read_at(item.at, item.frame.stored)
