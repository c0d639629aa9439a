"""Hundreds of system faults during a command. Run ``python -m tests.faults [--times N] [KIND...]``.

Each try runs the real command in a separate process, with a pair of 3 MB and one fault. A try survives if:

- the command ends with the right exit code and prints the reason
- its output is the right output, or the beginning of it
- no temporary files are left, and OUT is the whole result or unchanged

Prints a table in Markdown. The exit code is 1 if a try did not survive.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gzip
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dibundle.format.constants import MAGIC
from tests import pairs
from tests.program import shell_code

OLD = MAGIC + b"precious"  # begins with a bundle's magic, because create overwrites only files that look like bundles
SYSTEM, BASE = 3, 6
PATIENCE = 120  # maximum seconds to wait
MEMORY = 512 << 20
Prepare = Callable[[], object]


class Rig:
    """A pair and a working folder, and methods that run commands in child processes with a prepared fault."""

    def __init__(self, work: Path, chance: random.Random) -> None:
        self.chance = chance
        self.pair = pairs.make(work, megabytes=3)
        self.zipped = work / "a.tar.gz"
        self.zipped.write_bytes(gzip.compress(self.pair.base.read_bytes(), 1))
        self.whole = self.pair.target.read_bytes()
        self.out, self.tmp = work / "out", work / "tmp"
        self._stdout, self._stderr = work / "stdout", work / "stderr"
        self.base = work / "changing.tar"
        self.calls = work / "calls"

    def begin(self) -> None:
        """Create the folders again. In half of the tries, OUT already exists."""
        for folder in (self.out, self.tmp):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.before = OLD if self.chance.random() < 0.5 else None
        if self.before:
            (self.out / "b").write_bytes(self.before)

    def start(self, arguments: Sequence[str | Path], prepare: Prepare, *, stdin: int = -1, stdout: int = -1) -> int:
        """Fork a child that runs a command. Return its process ID."""
        child = os.fork()
        if child:
            return child
        with contextlib.suppress(BaseException):
            _become(arguments, prepare, stdin, stdout, self._stdout, self._stderr)
        os._exit(98)

    def wait(self, child: int) -> int:
        """Return a child's exit code as a shell shows it. Return 124 if the child does not end."""
        end = time.monotonic() + PATIENCE
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return shell_code(os.waitstatus_to_exitcode(status))
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return 124
            time.sleep(0.002)

    def fault(self, code: int, allowed: Sequence[int], result: bytes, *, killed: bool = False) -> str | None:
        """Return a description of the first failed check, or None."""
        said = self._stderr.read_text(errors="replace")
        if code not in allowed:
            return f"exit code {code}: {said[-300:]}"
        if "Traceback" in said or "internal error" in said:
            return f"said {said[-300:]}"
        if code not in (0, 137, 141) and not said and code < 128:
            return f"exit code {code} without a word"
        found = (self.out / "b").read_bytes() if (self.out / "b").exists() else None
        if found != (result if code == 0 else self.before) and not (code >= 128 and found == result):
            return f"exit code {code}, OUT has {found[:20]!r}" if found is not None else f"exit code {code}, no OUT"
        left = sorted(path.name for path in (*self.out.iterdir(), *self.tmp.iterdir()) if path.name != "b")
        return f"left {left}" if left and not killed else None

    def streamed(self, code: int, allowed: Sequence[int], out: bytes) -> str | None:
        """Check a command that wrote to a stream. Return what is wrong, or None if all is right."""
        said = self._stderr.read_text(errors="replace")
        if code not in allowed or "Traceback" in said or "internal error" in said:
            return f"exit code {code}: {said[-300:]}"
        if code == 0:
            return None if out == self.whole else f"{len(out)} bytes, not the target"
        if not self.whole.startswith(out) or len(out) == len(self.whole) or (out and len(out) % 512 == 0):
            return f"exit code {code} after {len(out)} bytes"
        return None

    def apply(self, base: Path | None = None) -> list[str | Path]:
        """Return the arguments of a ``dib apply`` that writes to OUT."""
        return ["apply", base or self.pair.base, self.pair.bundle, "-o", self.out / "b", "--tmp", self.tmp]

    def create(self) -> list[str | Path]:
        """Return the arguments of a ``dib create`` that writes to OUT."""
        return ["create", "-1", self.zipped, self.pair.target, self.out / "b", "--tmp", self.tmp]


def _become(arguments: Sequence[str | Path], prepare: Prepare, stdin: int, stdout: int, out: Path, err: Path) -> None:
    from dibundle.cli.main import run

    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(stdin if stdin >= 0 else os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout if stdout >= 0 else os.open(out, new), 1)
    os.dup2(os.open(err, new), 2)
    os.closerange(3, 64)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["dib", *map(str, arguments)]
    prepare()
    run()


class Failing:
    """A replacement for functions of ``os``. The n-th call fails, counted over all replaced functions."""

    def __init__(
        self, names: Sequence[str], number: int, wrong: Callable[..., object], told: Path | None = None
    ) -> None:
        self._number, self._wrong, self._told = number, wrong, told
        self._lock = threading.Lock()
        self.count = 0
        self._names = names

    def __call__(self) -> None:
        for name in self._names:
            setattr(os, name, self._replaced(getattr(os, name)))

    def _replaced(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.count += 1
                hit = self.count == self._number
                if self._told:
                    self._told.write_text(str(self.count))
            return self._wrong(real, *arguments, **named) if hit else real(*arguments, **named)

        return call


def error(number: int) -> Callable[..., object]:
    """Return a function that raises ``OSError`` with this number."""

    def fails(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fails


def calls_of(rig: Rig, arguments: list[str | Path], names: Sequence[str]) -> int:
    """Return the number of calls that a command makes without faults."""
    rig.begin()
    rig.calls.write_text("0")
    assert rig.wait(rig.start(arguments, Failing(names, -1, error(0), rig.calls))) == 0
    return int(rig.calls.read_text())


WRITES, READS = ("write", "pwrite", "ftruncate", "fsync", "replace"), ("read", "pread", "preadv")


def _each_call(
    rig: Rig, arguments: list[str | Path], names: Sequence[str], number: int, times: int
) -> list[str | None]:
    """Run the command once for each call, and let this call fail. If there are more than ``times`` calls, use a random
    sample.
    """
    result = rig.whole if arguments[0] == "apply" else _created(rig)
    count = calls_of(rig, arguments, names)
    chosen = range(1, count + 1) if count <= times else sorted(rig.chance.sample(range(1, count + 1), times))
    ended = []
    for call in chosen:
        rig.begin()
        code = rig.wait(rig.start(arguments, Failing(names, call, error(number))))
        allowed = (SYSTEM, 0) if "fsync" in names and code == 0 else (SYSTEM,)
        ended.append(rig.fault(code, allowed, result))
    return ended


def _created(rig: Rig) -> bytes:
    rig.begin()
    assert rig.wait(rig.start(rig.create(), lambda: None)) == 0
    return (rig.out / "b").read_bytes()


def full_disk(rig: Rig, times: int) -> list[str | None]:
    """Simulate a full disk: make every write, sync and rename fail, in ``apply`` and in ``create``."""
    share = max(1, times // 3)
    return [
        *_each_call(rig, rig.apply(), WRITES, errno.ENOSPC, share),
        *_each_call(rig, rig.apply(rig.zipped), WRITES, errno.ENOSPC, share),
        *_each_call(rig, rig.create(), WRITES, errno.ENOSPC, share),
    ]


def failing_reads(rig: Rig, times: int) -> list[str | None]:
    """Let each read fail with EIO, one read per run."""
    share = max(1, times // 3)
    return [
        *_each_call(rig, rig.apply(), READS, errno.EIO, share),
        *_each_call(rig, rig.apply(rig.zipped), READS, errno.EIO, share),
        *_each_call(rig, rig.create(), READS, errno.EIO, share),
    ]


def short_calls(rig: Rig, times: int) -> list[str | None]:
    """At random, let reads and writes handle fewer bytes than requested."""

    def shortened(seed: int) -> Prepare:
        def prepare() -> None:
            chance = random.Random(seed)
            read, pread, preadv, write, pwrite = os.read, os.pread, os.preadv, os.write, os.pwrite

            def less(size: int) -> int:
                return size if size < 2 else chance.choice((size, chance.randrange(1, size), max(1, size // 2)))

            os.read = lambda fd, size: read(fd, less(size))
            os.pread = lambda fd, size, at: pread(fd, less(size), at)
            os.preadv = lambda fd, views, at: preadv(fd, [memoryview(views[0])[: less(len(views[0]))]], at)
            os.write = lambda fd, data: write(fd, memoryview(data)[: less(len(data))])
            os.pwrite = lambda fd, data, at: pwrite(fd, memoryview(data)[: less(len(data))], at)

        return prepare

    ended = []
    for number in range(times):
        rig.begin()
        arguments = (rig.apply(), rig.apply(rig.zipped))[number % 2]
        code = rig.wait(rig.start(arguments, shortened(number)))
        ended.append(rig.fault(code, (0,), rig.whole))
    return ended


def _signals(rig: Rig, times: int, arguments: list[str | Path], result: bytes) -> list[str | None]:
    ended = []
    rig.begin()
    started = time.monotonic()
    rig.wait(rig.start(arguments, lambda: None))
    takes = time.monotonic() - started
    for number in range(times):
        sent = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)[number % 3]
        rig.begin()
        child = rig.start(arguments, lambda: None)
        time.sleep(rig.chance.uniform(0.03, takes * 1.1))  # wait until the handlers are installed
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, sent)
        code = rig.wait(child)
        allowed = (0, 128 + sent)
        ended.append(rig.fault(code, allowed, result, killed=sent == signal.SIGKILL))
    return ended


def signals(rig: Rig, times: int) -> list[str | None]:
    """Send SIGTERM, SIGINT or SIGKILL at random moments."""
    share = max(1, times // 3)
    return [
        *_signals(rig, share, rig.apply(), rig.whole),
        *_signals(rig, share, rig.apply(rig.zipped), rig.whole),
        *_signals(rig, share, rig.create(), _created(rig)),
    ]


def changing_base(rig: Rig, times: int) -> list[str | None]:
    """During a random read of the base, overwrite, truncate or replace the base."""
    names = ("pread", "preadv")
    rig.base.write_bytes(rig.pair.base.read_bytes())
    count = calls_of(rig, rig.apply(rig.base), names)

    def change(kind: int, at: int) -> Callable[..., object]:
        def changed(real: Callable[..., object], *arguments: object) -> object:
            size = rig.base.stat().st_size
            if kind == 2:
                (rig.base.parent / "other").write_bytes(bytes(size))
                (rig.base.parent / "other").replace(rig.base)
            else:
                with rig.base.open("r+b") as file:
                    if kind:
                        file.truncate(at)
                    else:
                        file.seek(at)
                        file.write(bytes(min(size - at, 300_000)))
            return real(*arguments)

        return changed

    ended = []
    for number in range(times):
        rig.begin()
        rig.base.write_bytes(rig.pair.base.read_bytes())
        at = rig.chance.randrange(rig.base.stat().st_size)
        call = rig.chance.randrange(1, count + 1)
        code = rig.wait(rig.start(rig.apply(rig.base), Failing(names, call, change(number % 3, at))))
        # the result is right, because dib never opens a file by its name a second time
        allowed = (0,) if number % 3 == 2 else (0, SYSTEM, 4, BASE)
        ended.append(rig.fault(code, allowed, rig.whole))
    return ended


def stalled_pipes(rig: Rig, times: int) -> list[str | None]:
    """Let the sender of the bundle, or the reader of the output, pause or end early."""
    bundle = rig.pair.bundle.read_bytes()
    ended = []
    for number in range(times):
        rig.begin()
        breaks_off, goes_away = number % 4 == 1, number % 4 == 3
        cut = rig.chance.randrange(len(bundle))
        end = rig.chance.randrange(100_000) if goes_away else len(rig.whole) + 1
        bundle_out, bundle_in = os.pipe()
        result_out, result_in = os.pipe()
        child = rig.start(("apply", rig.pair.base, "-"), lambda: None, stdin=bundle_out, stdout=result_in)
        os.close(bundle_out)
        os.close(result_in)
        got = bytearray()

        def feed(fd: int = bundle_in, cut: int = cut, breaks_off: bool = breaks_off) -> None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb", buffering=0) as pipe:
                pipe.write(bundle[:cut])
                time.sleep(rig.chance.uniform(0, 0.4))
                if not breaks_off:
                    pipe.write(bundle[cut:])

        feeder = threading.Thread(target=feed)
        feeder.start()
        time.sleep(rig.chance.uniform(0, 0.4))
        while len(got) < end and (piece := os.read(result_out, 65536)):
            got += piece
        os.close(result_out)
        code = rig.wait(child)
        feeder.join()
        if goes_away:
            ended.append(None if code == 141 and rig.whole.startswith(got) else f"exit code {code}")
        else:
            ended.append(rig.streamed(code, (5,) if breaks_off else (0,), bytes(got)))
    return ended


def little_memory(rig: Rig, times: int) -> list[str | None]:
    """Limit the address space to 512 MiB (enough for apply), or to a size from 256 to 512 MiB.

    With less than 512 MiB, apply may report a lack of memory. Below 256 MiB, a new thread may end before it runs.
    Python then waits for this thread forever.
    """
    result = _created(rig)
    ended = []
    for number in range(times):
        rig.begin()
        arguments, wanted = ((rig.apply(), rig.whole), (rig.apply(rig.zipped), rig.whole), (rig.create(), result))[
            number % 3
        ]
        limit = MEMORY if number < times // 2 else rig.chance.randrange(MEMORY // 2, MEMORY)

        def prepare(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        code = rig.wait(rig.start(arguments, prepare))
        enough = limit == MEMORY and arguments[0] == "apply"
        ended.append(rig.fault(code, (0,) if enough else (0, SYSTEM), wanted))
    return ended


KINDS = {
    item.__name__: item
    for item in (full_disk, failing_reads, short_calls, signals, changing_base, stalled_pipes, little_memory)
}


def main() -> int:
    """Run the kinds of faults that the command line names, and print the table."""
    parser = argparse.ArgumentParser(description="Let the system fail in every way.")
    parser.add_argument("--times", type=int, default=30, help="tries of each kind (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="those to try (all)")
    asked = parser.parse_args()
    import dibundle.cli.commands.apply
    import dibundle.cli.commands.create
    import dibundle.cli.main
    import dibundle.codecs.cover  # noqa: F401 - imported here once, not in every child

    failures: list[str] = []
    print("| kind | tries | survived |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(Path(name), random.Random(asked.seed))
        for kind in asked.kinds or KINDS:
            ended = KINDS[kind](rig, asked.times)
            wrong = Counter(f"{kind}: {fault}" for fault in ended if fault)
            failures += [f"{text} ({times} times)" for text, times in wrong.items()]
            told = (KINDS[kind].__doc__ or "").split("\n")[0].rstrip(".")
            print(f"| {told} | {len(ended)} | {len(ended) - wrong.total()} |", flush=True)
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
