"""``apply`` writes while it reads. If the base has random access, ``apply`` uses no temporary files."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.pairs import Pair
from tests.program import DIB, start, succeed

MAKES_A_FILE = re.compile(r"O_CREAT|O_TMPFILE|\b(?:creat|mkdir|mkdirat|mknod|mknodat|memfd_create)\(")


@pytest.fixture(scope="module")
def long_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two archives and their bundle, which is far larger than its own header and first frames."""
    folder = tmp_path_factory.mktemp("long")
    pair = Pair(folder / "a.tar", folder / "b.tar", folder / "out.dib", folder / "none", folder / "none")
    bottom = build_layer([file("data", noise(1, 3_000_000))])
    added = [file(f"new/{number}", noise(100 + number, 400_000)) for number in range(60)]
    top = build_layer([*added, file("new/text", text(2, 400_000))])
    # podman's form keeps the order of the layers, so the layer of the base comes first
    pair.base.write_bytes(docker_save([TestImage([bottom], ["example.com/app:1"])], "podman"))
    pair.target.write_bytes(docker_save([TestImage([bottom, top], ["example.com/app:2"])], "podman"))
    succeed("create", "-1", pair.base, pair.target, pair.bundle)
    yield pair
    for path in (pair.base, pair.target, pair.bundle):
        path.unlink()


def test_output_begins_before_a_tenth_of_the_bundle_is_read(long_pair: Pair) -> None:
    """The output begins before dib has read a tenth of the bundle. The pipe holds at most 64 KiB of unread data."""
    bundle = long_pair.bundle.read_bytes()
    taken = 0
    with start("apply", long_pair.base, "-", stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        os.set_blocking(process.stdin.fileno(), False)
        while not select.select([process.stdout], [], [], 0)[0]:
            with contextlib.suppress(BlockingIOError):
                taken += os.write(process.stdin.fileno(), bundle[taken : taken + 65536])
        os.set_blocking(process.stdin.fileno(), True)
        writer = threading.Thread(target=_write_and_close, args=(process.stdin, bundle[taken:]))
        writer.start()
        written = process.stdout.read()
        writer.join()
    assert process.returncode == 0
    assert written == long_pair.target.read_bytes()
    assert taken < len(bundle) // 10


def test_output_keeps_up_with_the_bundle(long_pair: Pair) -> None:
    bundle = long_pair.bundle.read_bytes()
    part = len(bundle) * 3 // 4
    with start("apply", long_pair.base, "-", stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        writer = threading.Thread(target=process.stdin.write, args=(bundle[:part],))
        writer.start()
        written = process.stdout.read(long_pair.target.stat().st_size // 2)
        writer.join()
        process.stdin.close()
        written += process.stdout.read()
    assert process.returncode == 5
    assert long_pair.target.read_bytes().startswith(written)


@pytest.mark.parametrize("how", ["file", "pipe"])
def test_apply_makes_no_temporary_file(how: str, pair: Pair, tmp_path: Path) -> None:
    needs.programs("strace")
    trace = tmp_path / "trace"
    calls = "openat,open,openat2,creat,mkdir,mkdirat,mknod,mknodat,memfd_create"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", trace, "-e", f"trace=?{calls.replace(',', ',?')}"),
            *DIB,
            *("apply", pair.base, pair.bundle if how == "file" else "-"),
        ],
        input=pair.bundle.read_bytes() if how == "pipe" else b"",
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == pair.target.read_bytes()
    lines = trace.read_text().splitlines()
    assert any(str(pair.base) in line for line in lines)
    assert [line for line in lines if MAKES_A_FILE.search(line)] == []


def test_apply_opens_every_input_once(pair: Pair, tmp_path: Path) -> None:
    needs.programs("strace")
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=openat", *DIB, "apply", pair.base, pair.bundle]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    lines = trace.read_text().splitlines()
    for path in (pair.base, pair.bundle):
        assert len([line for line in lines if f'"{path}"' in line]) == 1


def _write_and_close(stream: IO[bytes], data: bytes) -> None:
    stream.write(data)
    stream.close()
