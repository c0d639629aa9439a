"""The public functions, which ``dibundle`` itself offers: create, apply and open_bundle, from files or streams."""

from __future__ import annotations

import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, Self, cast

from dibundle import messages_api as messages
from dibundle.applying.chain import follow
from dibundle.applying.expected import parse
from dibundle.applying.pipeline import MAX_TARGET, ApplyOptions, apply_steps, choose_target, find_base
from dibundle.codecs.encode import choose
from dibundle.creating.pipeline import CreateOptions, CreateResult
from dibundle.creating.pipeline import create as write_bundle
from dibundle.errors import BaseMismatchError, FileError, UsageError
from dibundle.files import digest
from dibundle.files.compression import RATIO
from dibundle.files.destination import Destination
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool
from dibundle.format.constants import MAGIC
from dibundle.format.manifest import AboutImage
from dibundle.format.output import Piece
from dibundle.format.reader import BundleReader, Readable
from dibundle.format.signing import Signers
from dibundle.format.uses import objects_used
from dibundle.images.archive import Archive, from_fd, open_archive
from dibundle.inspecting.operations import Line, listing
from dibundle.sources import parts
from dibundle.sources.detect import first_part_missing, is_bundle, is_named_so, open_other, read_bundle
from dibundle.sources.engines import TRANSPORTS

__all__ = ["Bundle", "CreateResult", "Line", "Made", "Source", "Writable", "apply", "create", "open_bundle"]

Source = str | os.PathLike[str] | Readable
"""An archive or a bundle: a path (of an OCI layout the folder), or an open binary file, read from where it stands."""


class Writable(Protocol):
    """A binary file open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write ``data``; return how many bytes of it, if not all: the rest is given again then."""


def create(
    base: Source | Sequence[Source] | None,
    target: Source | Sequence[Source],
    out: str | os.PathLike[str] | Writable,
    *,
    level: int = choose.DEFAULT_LEVEL,
    workers: int = 0,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> CreateResult:
    """Write a bundle that makes ``target`` of ``base`` (None or none: of nothing) to ``out``; return what was made.

    A path as ``out`` appears whole or not at all. ``level`` is 1 (fast) to 9 (small). The same inputs and level give
    the same bundle, whatever does the work: threads of this process, one per core or ``workers`` of them, or an
    ``executor`` of concurrent.futures, to which a function and bytes are submitted, ``workers`` frames at a time (one
    per core of this machine, if it is 0). Processes and machines that it sends them to need the same versions of dib,
    zstandard and hdiffpatch. Processes that are started by spawn or forkserver import the script anew: there it makes
    its ``ProcessPoolExecutor`` under ``if __name__ == "__main__":``. Fork, the default on Linux before
    Python 3.14, may make Python warn of deadlocks, as threads run here: give the pool one of those two as its
    ``mp_context``. ``tmp`` is where temporary files go.

    Raises :class:`DibError`: ``ArchiveError`` for what is no image archive, ``FileError`` where the system refuses,
    ``UsageError`` for a level or a number of workers that there is not. What the caller's own objects raise comes
    through as it is: ``OSError`` of an open file that cannot be written, ``RuntimeError`` of an ``executor`` that is
    broken or shut down. One that takes nothing, as it would block or has waited for too long, is a ``FileError``.
    """
    if level not in choose.LEVELS:
        raise UsageError(messages.LEVEL_UNKNOWN, level=level)
    if workers < 0:
        raise UsageError(messages.WORKERS_NEGATIVE, workers=workers)
    options = CreateOptions(patch=choose.Options(level=level), workers=workers, tmp=tmp)
    with ExitStack() as stack:
        bases = [_archive(item, stack, tmp) for item in _several(base)]
        targets = [_archive(item, stack, tmp) for item in _several(target)]
        if not targets:
            raise UsageError(messages.SOURCE_NO_TARGET)
        if not isinstance(out, str | os.PathLike):
            return write_bundle(bases, targets, partial(_write_all, out), options, progress, executor)
        destination = Destination(os.fspath(out))
        for archive in (*bases, *targets):
            if archive.identity and archive.identity == destination.identity:
                raise UsageError(messages.OUTPUT_IS_INPUT, name=destination.name)
        with destination:
            return write_bundle(bases, targets, destination.write, options, progress, executor)


def apply(
    sources: Source | Iterable[Source],
    *,
    target: str | None = None,
    expect: str | Iterable[str] = (),
    signers: Signers | None = None,
    max_size: int | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> Iterator[bytes]:
    """Yield the archive that bundles make, byte for byte, from the archives among ``sources``.

    What is a bundle is seen by its content; several are followed as a chain. Of one in parts (``update.dib.001`` and so
    on) any part may be named, or all of them; the others are found beside it. ``target`` chooses by name one of several
    that a bundle makes. With ``expect``, image IDs or digests as ``sha256:...``, nothing else is yielded. With
    ``signers`` every bundle has to be signed by one of them. The last bytes come only when every byte before them is
    verified, so that half an archive is never taken for a whole one.

    Nothing is opened before the first byte is asked for; then :class:`DibError` may be raised: ``BaseMismatchError``
    for a wrong base, ``BundleError`` and ``DigestError`` for a bundle that is malformed or damaged, ``SignatureError``
    for one that nobody who counts has signed, or that makes something else than is expected.
    """
    limit = MAX_TARGET if max_size is None else max_size
    expected = (expect,) if isinstance(expect, str) else expect
    _require_signers(signers)
    with ExitStack() as stack:
        archives, bundles = _sort(_several(sources), stack, tmp, signers.check if signers else None)
        if not bundles:
            raise UsageError(messages.SOURCE_NO_BUNDLE)
        plain = ApplyOptions(tmp=tmp, max_size=limit)
        archives, bundle = follow(archives, bundles, plain, stack, progress)
        options = ApplyOptions(tmp=tmp, target=target, expect=frozenset(map(parse, expected)), max_size=limit)
        pieces: deque[bytes] = deque()
        sinks = {choose_target(bundle.manifest, options): _into(pieces)}
        for _ in apply_steps(archives, bundle, sinks, options, progress):
            while pieces:
                yield pieces.popleft()
        yield from pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An archive that a bundle makes: its size in bytes, its ``sha256:...`` and its images.

    An image's ``id`` and ``diff_ids`` are digests of 32 bytes; ``f"sha256:{image.id.hex()}"`` is what ``expect`` takes.
    """

    size: int
    sha256: str
    images: tuple[AboutImage, ...]


class Bundle:
    """An open bundle, whose head has been read and checked; a context manager that closes it.

    ``signed_by`` tells who of the signers that were asked for signed it, and with which key; None if none were.
    """

    def __init__(self, source: Source, tmp: str | None = None, signers: Signers | None = None) -> None:
        _require_signers(signers)
        self._stack = ExitStack()
        self._tmp = tmp
        self._asked = self._closed = False
        self.signed_by: str | None = None

        def check(header: bytes, signature: bytes) -> None:
            self.signed_by = signers.check(header, signature) if signers else None

        try:
            archives, bundles = _sort([source], self._stack, tmp, check if signers else None, bundle_wanted=True)
            if not bundles:
                raise UsageError(messages.SOURCE_ARCHIVE_NOT_BUNDLE, name=archives[0].name)
        except BaseException:
            self._stack.close()
            raise
        self._reader = bundles[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._closed = True
        self._stack.close()

    @property
    def size(self) -> int:
        """Number of bytes of the bundle."""
        return self._reader.size

    @property
    def needs(self) -> tuple[AboutImage, ...]:
        """The images that it was made from: names, ID, diffIDs; none where it needs no base, or does not tell."""
        about = self._reader.manifest.about
        return about.bases if about else ()

    @property
    def makes(self) -> tuple[Made, ...]:
        """The archives that it makes."""
        manifest = self._reader.manifest
        images = manifest.about.targets if manifest.about else ((),) * len(manifest.targets)
        return tuple(
            Made(size=item.size, sha256=digest.text(item.digest), images=about)
            for item, about in zip(manifest.targets, images, strict=True)
        )

    def operations(self, base: Source | None = None, *, target: str | None = None) -> list[Line]:
        """Return what happens to each path of a target, as ``dib inspect --list`` shows it; may be asked once.

        With ``base`` every path is told, with its sizes.
        """
        if self._closed:
            raise UsageError(messages.BUNDLE_CLOSED)
        if self._asked:
            raise UsageError(messages.BUNDLE_ALREADY_READ)
        options = ApplyOptions(tmp=self._tmp, target=target)
        number = choose_target(self._reader.manifest, options)
        if base is None:
            self._asked = True
            return listing(self._reader, number)
        with ExitStack() as stack:
            found = find_base(self._reader.manifest, [_archive(base, stack, self._tmp)], options, [number])
            stack.callback(found.close)
            used = objects_used(self._reader.manifest, number)
            if found.missing(used):
                raise BaseMismatchError(messages.BASE_EARLIER_TARGET)
            found.prepare(used)
            self._asked = True  # from here on frames are read
            return listing(self._reader, number, found)


def open_bundle(source: Source, *, signers: Signers | None = None, tmp: str | None = None) -> Bundle:
    """Open a bundle to look at it; :class:`DibError` where it is none, or signed by none of ``signers``.

    So it is where its head is damaged, or a file that is named is cut short; what follows the head, and all of an open
    file behind it, is checked when it is applied. Of a bundle in parts any part may be named.
    """
    return Bundle(source, tmp, signers)


def _write_all(out: Writable, data: bytes) -> None:
    """Write all of ``data``; raw files take less at a time, and nothing where they would block."""
    while data:
        try:
            taken = out.write(data)
        except (BlockingIOError, TimeoutError) as error:
            raise _refused(str(error)) from error
        if taken is None and not isinstance(out, io.RawIOBase):
            return  # writers of other kinds need not say
        count = taken if isinstance(taken, int) else 0
        if count <= 0:
            raise _refused("it takes nothing now")
        data = data[count:]


def _refused(why: str) -> FileError:
    return FileError(messages.OUTPUT_STREAM_REFUSED, why=why)


def _into(pieces: deque[bytes]) -> Callable[[Piece], object]:
    def take(piece: Piece) -> None:
        pieces.append(bytes(piece))  # what it is a view of may be used again

    return take


def _several(sources: Source | Iterable[Source] | None) -> Iterable[Source]:
    if sources is None:
        return ()
    # a file is iterable, too: by lines
    is_one = isinstance(sources, str | bytes | os.PathLike) or hasattr(sources, "read")
    return (cast("Source", sources),) if is_one else cast("Iterable[Source]", sources)


def _archive(source: Source, stack: ExitStack, tmp: str | None, ratio: int | None = None) -> Archive:
    if isinstance(source, str | os.PathLike):
        _require_path(source)
        return stack.enter_context(open_archive(source, spool_dir=tmp, ratio=ratio))
    return _spooled(source, _head(source), stack, tmp, ratio)


def _require_signers(signers: object) -> None:
    """Say of a name of a file that it is not :class:`Signers`."""
    if signers is not None and not isinstance(signers, Signers):
        raise TypeError(f"signers are Signers(allowed=FILE), not {type(signers).__name__}")


def _require_path(source: str | os.PathLike[str]) -> None:
    """Say of a name of the command line's that it is no path."""
    name = os.fspath(source)
    if name.startswith(("docker://", *TRANSPORTS.values())):
        raise UsageError(messages.SOURCE_NAME_NOT_PATH, name=name)


def _head(source: Readable) -> bytes:
    """Read the first bytes of a stream."""
    if not hasattr(source, "read"):
        raise TypeError(f"a source is a path or a binary file, not {type(source).__name__}")
    head = source.read(len(MAGIC))
    if not isinstance(head, bytes):
        raise TypeError("a source that is a file has to be open in binary mode")
    if not head:
        raise UsageError(messages.SOURCE_EMPTY_STREAM)
    return head


def _sort(
    sources: Iterable[Source],
    stack: ExitStack,
    tmp: str | None,
    trust: Callable[[bytes, bytes], object] | None = None,
    *,
    bundle_wanted: bool = False,
) -> tuple[list[Archive], list[BundleReader]]:
    """Open everything; return archives and bundles apart. ``bundle_wanted``: nothing else will do.

    ``trust`` is asked about every bundle before an archive is unpacked; without a bundle none is unpacked far.
    """
    waiting: list[Callable[[int | None], Archive]] = []
    bundles: list[BundleReader] = []
    for source in _with_first_parts(sources):
        if isinstance(source, str | os.PathLike):
            name, head = os.fspath(source), _head_of_file(source)
            if is_bundle(head):
                bundles.append(read_bundle(*_bundle_file(name, stack), trust))
                continue
            opened: Callable[[int | None], Archive] = partial(_archive, source, stack, tmp)
        else:
            name, head = "a stream", _head(source)
            if is_bundle(head):
                bundles.append(read_bundle(_Continued(head, source), None, None, trust))
                continue
            opened = partial(_spooled, source, head, stack, tmp)
        wanted = bundle_wanted or is_named_so(name)
        waiting.append(partial(_open_other, name, head, opened, wanted, trust is not None and wanted))
    ratio = RATIO if trust and not bundles else None
    return [open_it(ratio) for open_it in waiting], bundles


def _open_other(
    name: str, head: bytes, opened: Callable[[int | None], Archive], wanted: bool, bounded: bool, ratio: int | None
) -> Archive:
    return open_other(name, head, partial(opened, RATIO if bounded else ratio), wanted=wanted)


def _with_first_parts(sources: Iterable[Source]) -> list[Source]:
    """Return the sources, of a bundle in parts the first part in place of all; streams come last."""
    names: list[str] = []
    streams: list[Source] = []
    for source in sources:
        if isinstance(source, str | os.PathLike):
            names.append(os.fspath(source))
        else:
            streams.append(source)
    return [*parts.firsts(names), *streams]


def _head_of_file(source: str | os.PathLike[str]) -> bytes:
    """Read the first bytes of a file; a folder has none."""
    _require_path(source)
    name = os.fspath(source)
    try:
        if os.path.isdir(name):  # noqa: PTH112 - the path may be any bytes that the system takes
            return b""
        with open(name, "rb") as file:  # noqa: PTH123
            return os.pread(file.fileno(), len(MAGIC), 0)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and parts.missing_first(name):
            raise first_part_missing(name) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(messages.FILE_CANNOT_OPEN, name=name, reason=reason) from error


def _bundle_file(name: str, stack: ExitStack) -> tuple[Readable, str, int | None]:
    """Open a bundle; return its stream, its name and, where that is known, its size."""
    if parts.is_first(name):
        reader = parts.PartsReader(name, stack)
        return reader, name, reader.size
    file = stack.enter_context(open(name, "rb"))  # noqa: PTH123, SIM115 - the stack closes it
    found = os.fstat(file.fileno())
    return file, name, found.st_size if stat.S_ISREG(found.st_mode) else None


class _Continued:
    """A stream of which the first bytes have been read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._stream.read(size)


def _spooled(stream: Readable, head: bytes, stack: ExitStack, tmp: str | None, ratio: int | None = None) -> Archive:
    """Copy a stream into a temporary file and open the archive in it."""
    spool = Spool(tmp)
    stack.callback(spool.close)
    spool.write(head)
    while piece := stream.read(1 << 20):
        spool.write(piece)
    return stack.enter_context(from_fd(spool.start(), "a stream", spool_dir=tmp, ratio=ratio))
