"""Processes that rebuild layers.

If a hostile bundle takes too much time or memory, or causes a fault, only the rebuilding process fails.

The mirror writes a :class:`Job` to the process, and the process inherits open files. The process writes lines of JSON.
Some lines report the size of the process's growing temporary files. A line about each layer comes before the bytes of
this layer. The last line is the result. If the mirror ends, the process ends too.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from dibundle.format.signing import Signers
    from dibundle.sharing.mirror.bases import OpenFile, OpenImage

MAX_MEMORY: Final = 3 << 29
"""The maximum memory of a process in bytes: the maximum for a bundle (spec/dib.md, 10.1), plus a reserve."""
_PIECE: Final = 1 << 20
_LINE: Final = 1 << 16  # maximum bytes of a line
_LOOK: Final = 0.02  # seconds between two checks of the temporary files
_STEP: Final = 1 << 20  # bytes; smaller changes in the size of the temporary files are not reported
_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from dibundle.sharing.mirror.worker import main; main()"


class Job(NamedTuple):
    """The task to rebuild layers of the image with the ID ``image`` from bases and a chain of bundles.

    ``wanted`` are the sizes of the layers in bytes, by their digests. ``max_size`` is the maximum size of a target in
    bytes. ``max_base`` is the maximum size of the bases' decompressed layers. ``names`` are the image's names, for
    which signers may be required. ``tmp`` is the folder of temporary files.
    """

    bundles: tuple[OpenFile, ...]
    bases: tuple[OpenImage, ...]
    image: bytes
    wanted: dict[bytes, int]
    max_size: int
    max_base: int
    names: tuple[str, ...]
    signers: Signers | None
    checks_signatures: bool
    tmp: str


class JobFailedError(Exception):
    """The error for layers that could not be rebuilt. The text of the error is the reason.

    ``bundle`` is the index of the bundle that cannot be used. ``is_applied`` is true if the fault was found while the
    bundle was applied.
    """

    def __init__(self, text: str, bundle: int = -1, *, is_applied: bool = True) -> None:
        super().__init__(text)
        self.bundle, self.is_applied = bundle, is_applied


class RebuiltLayer(NamedTuple):
    """A rebuilt layer: the digest that the process claims, and the layer's bytes."""

    digest: bytes
    pieces: Iterator[bytes]


def run(job: Job, left: Callable[[], float], taken: Callable[[int], object]) -> Generator[RebuiltLayer, None, None]:
    """Run a job in a separate process, and yield the layers.

    The caller must read each layer to its end before the next layer. ``left`` returns the remaining seconds, and raises
    an error if no time remains. ``taken`` is called with the number of bytes by which the temporary files have grown.
    If ``left`` or ``taken`` raises an error, or the iterator is closed, the process is killed. Raises
    :class:`JobFailedError`.
    """
    fds = [file.fd for file in job.bundles] + [file.fd for base in job.bases for file in base.files.values()]
    command = [sys.executable, "-I", "-c", _START, *sys.path]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=fds, bufsize=0
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            reader = _Reader(process.stdout.fileno(), left)
            with suppress(BrokenPipeError):
                _write(process.stdin.fileno(), pickle.dumps(job))
            total = 0
            while True:
                said = reader.line()
                if "taken" in said:
                    taken(said["taken"] - total)
                    total = said["taken"]
                elif "layer" in said:
                    yield RebuiltLayer(bytes.fromhex(said["layer"]), reader.pieces(said["size"]))
                elif "failed" in said:
                    raise JobFailedError(said["failed"], said["bundle"], is_applied=said["applied"])
                else:
                    return
        finally:
            process.kill()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class _Reader:
    """A reader of a process's output. The reader stops when the time is over."""

    def __init__(self, fd: int, left: Callable[[], float]) -> None:
        self._fd, self._left = fd, left
        self._rest = bytearray()
        self._poll = select.poll()  # not select(), which refuses descriptors from 1,024 on
        self._poll.register(fd, select.POLLIN)

    def line(self) -> dict[str, Any]:
        """Return the next line."""
        while b"\n" not in self._rest:
            self._more(_LINE)
            if len(self._rest) > 2 * _LINE:
                raise JobFailedError("the process writes no line")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            raise JobFailedError("the process writes no JSON") from None
        return said

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next ``size`` bytes."""
        while size:
            if not self._rest:
                self._more(_PIECE)
            piece = bytes(self._rest[:size])
            del self._rest[: len(piece)]
            size -= len(piece)
            yield piece

    def _more(self, most: int) -> None:
        while not self._poll.poll(1000 * min(1.0, self._left())):
            pass
        found = os.read(self._fd, most)
        if not found:  # the kernel or a limit has killed the process
            raise JobFailedError("the process ended early")
        self._rest += found


# ---------------------------------------------------------------- in the process


class _Writer:
    """A writer of lines and layers to the mirror. Two threads may use the same writer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out = os.dup(1)
        os.dup2(2, 1)  # send other output to stderr, so that such output does not mix with the lines

    def say(self, **said: object) -> None:
        """Write a line."""
        with self._lock:
            _write(self._out, json.dumps(said).encode() + b"\n")

    def layer(self, digest: bytes, size: int, pieces: Iterator[bytes]) -> None:
        """Write a layer."""
        with self._lock:
            _write(self._out, json.dumps({"layer": digest.hex(), "size": size}).encode() + b"\n")
            for piece in pieces:
                _write(self._out, piece)


def main() -> None:
    """Run the job from standard input, then end the process immediately, even if threads are still decoding."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = MAX_MEMORY if most == resource.RLIM_INFINITY else min(MAX_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    writer = _Writer()
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the mirror
    threading.Thread(target=_end_with_mirror, daemon=True).start()
    threading.Thread(target=_tell_taken, args=(writer, job.tmp), daemon=True).start()
    try:
        _work(job, writer)
        writer.say()
    except JobFailedError as error:
        writer.say(failed=str(error), bundle=error.bundle, applied=error.is_applied)
    except BaseException as error:
        writer.say(failed=f"internal: {type(error).__name__}", bundle=-1, applied=True)
    os._exit(0)


def _end_with_mirror() -> None:
    """End this process when the mirror closes its end of the pipe, or when the mirror has ended."""
    while os.read(0, _LINE):
        pass
    os._exit(1)


def _tell_taken(writer: _Writer, folder: str) -> None:
    """Report the size of the temporary files after each large change."""
    from dibundle.files.readat import taken

    told = 0
    while True:
        time.sleep(_LOOK)
        now = taken(folder)
        if abs(now - told) >= _STEP:
            writer.say(taken=now)
            told = now


def _work(job: Job, writer: _Writer) -> None:
    from dibundle.applying.chain import follow
    from dibundle.applying.options import RebuildOptions
    from dibundle.applying.rewrite import rebuild_images
    from dibundle.codecs.native.library import reuse_memory
    from dibundle.errors import DibError
    from dibundle.files import digest as digests
    from dibundle.files.context import Context
    from dibundle.files.readat import FileBytes, Stream, copy_chunks
    from dibundle.format.reader import BundleReader
    from dibundle.sharing.mirror.bases import archive_of
    from dibundle.sources.access import Access
    from dibundle.sources.bundles import check_integrity

    reuse_memory()
    check = Access(signers=job.signers, checks_signatures=job.checks_signatures).signature_check(job.tmp, job.names)

    def opened(file: OpenFile) -> BundleReader:
        return BundleReader(Stream(FileBytes(file.fd, file.name, owned=False)), None, check.required, file.name)

    for number, file in enumerate(job.bundles):
        try:
            check_integrity(opened(file))
        except DibError as error:
            raise JobFailedError(error.message, number, is_applied=False) from error
    try:
        with Context(job.tmp) as context:
            bases = []
            for image, of in job.bases:
                bases.append(archive_of(image, {digest: FileBytes(file.fd, file.name) for digest, file in of.items()}))
            limits = RebuildOptions(max_size=job.max_size, max_base=job.max_base)
            here, last = follow(bases, [opened(file) for file in job.bundles], limits, context)
            several = len(last.manifest.targets) > 1
            made, _ = rebuild_images(
                here, last, replace(limits, target=digests.text(job.image) if several else None), context
            )
            for blob in made.blobs:
                if blob.digest and job.wanted.get(blob.digest) == blob.member.size:
                    pieces = copy_chunks(made.archive.bytes, blob.member.content, blob.member.size)
                    writer.layer(blob.digest, blob.member.size, pieces)
                    del job.wanted[blob.digest]
    except DibError as error:
        raise JobFailedError(error.message) from error
    if job.wanted:
        raise JobFailedError("it rebuilds other blobs than the image's")
