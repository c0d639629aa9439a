"""The public functions.

Any executor gives the same bundle, apply yields bytes early, and errors have codes and hints.
"""

from __future__ import annotations

import io
import os
import pydoc
import subprocess
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import pytest

import dibundle
from dibundle.files.progress import Silent, Thinned
from tests import needs, pairs
from tests.pairs import Pair
from tests.program import succeed


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pairs.make_programs(tmp_path_factory.mktemp("api"))


def make(pair: Pair, executor: Executor | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    dibundle.create(pair.base, pair.target, out, executor=executor, **options)
    return out.getvalue()


def test_create_and_apply(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.dib"
    result = dibundle.create(pair.base, pair.target, out)
    assert result.size == out.stat().st_size
    assert out.read_bytes() == pair.bundle.read_bytes()
    assert b"".join(dibundle.apply([pair.base, out])) == pair.target.read_bytes()
    assert b"".join(dibundle.apply([out, pair.base])) == pair.target.read_bytes()


def test_streams(pair: Pair) -> None:
    out = io.BytesIO()
    dibundle.create(io.BytesIO(pair.base.read_bytes()), io.BytesIO(pair.target.read_bytes()), out)
    assert out.getvalue() == pair.bundle.read_bytes()
    out.seek(0)
    with pair.base.open("rb") as base:
        assert b"".join(dibundle.apply([base, out])) == pair.target.read_bytes()


def test_output_comes_in_pieces(pair: Pair) -> None:
    pieces = dibundle.apply([pair.base, pair.bundle])
    first = next(pieces)
    assert pair.target.read_bytes().startswith(first)
    assert len(first) < pair.target.stat().st_size // 2
    pieces.close()  # frees all resources


def test_no_base(pair: Pair, tmp_path: Path) -> None:
    dibundle.create(None, pair.target, tmp_path / "o.dib")
    assert b"".join(dibundle.apply([tmp_path / "o.dib"])) == pair.target.read_bytes()


def test_threads_of_the_caller(pair: Pair, programs: Pair) -> None:
    with ThreadPoolExecutor(2) as executor:
        assert make(pair, executor) == pair.bundle.read_bytes()
        assert make(programs, executor, workers=3) == programs.bundle.read_bytes()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes(pair: Pair, programs: Pair, method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as executor:
        assert make(pair, executor) == pair.bundle.read_bytes()
        assert make(programs, executor) == programs.bundle.read_bytes()


@pytest.mark.filterwarnings("ignore")  # Dask itself gives warnings
def test_a_dask_cluster(pair: Pair, programs: Pair) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        assert make(pair, executor, workers=4) == pair.bundle.read_bytes()
        assert make(programs, executor, workers=4) == programs.bundle.read_bytes()


def test_several_at_once(pair: Pair) -> None:
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(make(pair, workers=1))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [pair.bundle.read_bytes()] * 3


SCRIPT = """
import multiprocessing, signal, sys
multiprocessing.set_start_method(sys.argv[4])
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE)
import dibundle
dibundle.create(sys.argv[1], sys.argv[2], sys.argv[3], workers=2)
assert b"".join(dibundle.apply([sys.argv[1], sys.argv[3]])) == open(sys.argv[2], "rb").read()
assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_plain_script(pair: Pair, tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, pair.base, pair.target, tmp_path / "o.dib", method]
    run = subprocess.run(command, capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    assert (tmp_path / "o.dib").read_bytes() == pair.bundle.read_bytes()


def test_open_bundle(pair: Pair) -> None:
    with dibundle.open_bundle(pair.bundle) as bundle:
        assert bundle.size == pair.bundle.stat().st_size
        assert bundle.needs[0].names == ("example.com/app:1",)
        assert bundle.makes[0].size == pair.target.stat().st_size
        lines = bundle.operations(pair.base)
    assert {line.operation for line in lines} >= {"keep", "patch", "add"}
    assert all(line.size is not None for line in lines if line.operation == "patch")


def test_errors_have_codes_and_hints(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(dibundle.DibError) as missing:
        b"".join(dibundle.apply([pair.bundle]))
    assert missing.value.exit_code == 6
    assert "docker save" in (missing.value.hint or "")
    with pytest.raises(dibundle.DibError) as absent:
        dibundle.create(tmp_path / "absent.tar", pair.target, tmp_path / "o.dib")
    assert absent.value.exit_code == 3
    with pytest.raises(dibundle.DibError) as same:
        dibundle.create(pair.base, pair.target, pair.base)
    assert same.value.exit_code == 2
    with pytest.raises(dibundle.DibError) as unexpected:
        next(dibundle.apply([pair.base, pair.bundle], expect=["sha256:" + "0" * 64]))
    assert unexpected.value.exit_code == 8
    assert not (tmp_path / "o.dib").exists()


def test_what_is_public_can_be_found() -> None:
    assert set(dibundle.__all__) <= set(dir(dibundle))
    assert all(getattr(dibundle, name) for name in dibundle.__all__)
    assert "open_bundle(" in pydoc.plain(pydoc.render_doc(dibundle))


def test_one_source_and_one_expected_image(pair: Pair, tmp_path: Path) -> None:
    dibundle.create(None, pair.target, tmp_path / "o.dib")
    with dibundle.open_bundle(tmp_path / "o.dib") as bundle:
        expected = f"sha256:{bundle.makes[0].images[0].id.hex()}"
    assert b"".join(dibundle.apply(str(tmp_path / "o.dib"), expect=expected)) == pair.target.read_bytes()
    with (tmp_path / "o.dib").open("rb") as file:
        assert b"".join(dibundle.apply(file)) == pair.target.read_bytes()


def test_what_is_no_source(pair: Pair) -> None:
    written = io.BytesIO()
    dibundle.create(pair.base, pair.target, written)
    with pytest.raises(dibundle.UsageError) as behind:
        dibundle.open_bundle(written)
    assert "seek(0)" in (behind.value.hint or "")
    with pytest.raises(TypeError, match="not bytes"):
        dibundle.open_bundle(b"bundle")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        dibundle.open_bundle(io.StringIO("bundle"))  # type: ignore[arg-type]


def test_an_engine_is_asked_for_what_is_named_in_it(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / "stand_in.py"} docker "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("MACHINE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    subprocess.run([program, "load", "-i", pair.base], check=True)
    sources = [f"docker-daemon:{pairs.OLD_NAME}", pair.bundle]
    assert b"".join(dibundle.apply(sources)) == pair.target.read_bytes()
    with pytest.raises(dibundle.AbsentError) as absent:
        next(dibundle.apply(["docker-daemon:app:1", pair.bundle]))
    assert absent.value.code == "engine.no_image"


def test_operations_are_told_once(pair: Pair) -> None:
    with dibundle.open_bundle(pair.bundle) as bundle:
        bundle.operations()
        with pytest.raises(dibundle.UsageError, match="already read"):
            bundle.operations()


def test_operations_can_be_asked_for_again_where_the_base_was_wrong(pair: Pair) -> None:
    with dibundle.open_bundle(pair.bundle) as bundle:
        with pytest.raises(dibundle.BaseMismatchError):
            bundle.operations(pair.target)
        assert any(line.operation == "keep" for line in bundle.operations(pair.base))
        with pytest.raises(dibundle.UsageError, match="already read"):
            bundle.operations(pair.base)


def test_a_closed_bundle_has_no_operations(pair: Pair) -> None:
    bundle = dibundle.open_bundle(pair.bundle)
    bundle.close()
    bundle.close()
    assert bundle.size == pair.bundle.stat().st_size
    with pytest.raises(dibundle.UsageError, match="this bundle is closed") as closed:
        bundle.operations()
    assert (closed.value.exit_code, bool(closed.value.hint)) == (2, True)


def test_what_the_callers_objects_raise_comes_through(pair: Pair) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        make(pair, executor)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left") as refused:
        dibundle.create(pair.base, pair.target, full)
    assert not isinstance(refused.value, dibundle.DibError)


class Slow(io.RawIOBase):
    """A raw file that writes a few bytes at a time. After ``most`` bytes, a write returns ``then``, or raises it if it
    is an exception.
    """

    def __init__(self, most: int, then: BaseException | int | None) -> None:
        self.taken = bytearray()
        self._most, self._then = most, then

    def write(self, data: bytes, /) -> int | None:
        if len(self.taken) >= self._most:
            if isinstance(self._then, BaseException):
                raise self._then
            return self._then
        piece = bytes(data[:1000])
        self.taken += piece
        return len(piece)


def test_what_a_stream_does_not_take_is_written_again(pair: Pair) -> None:
    out = Slow(1 << 62, None)
    assert dibundle.create(pair.base, pair.target, out).size == len(out.taken)
    assert out.taken == pair.bundle.read_bytes()


@pytest.mark.parametrize("then", [None, 0, BlockingIOError("would block"), TimeoutError("timed out")])
def test_a_stream_that_takes_nothing(pair: Pair, then: BaseException | int | None) -> None:
    with pytest.raises(dibundle.FileError, match=r"the given stream: (it takes|would|timed)") as refused:
        dibundle.create(pair.base, pair.target, Slow(5000, then))
    assert refused.value.hint


def test_a_pipe_that_does_not_wait(pair: Pair) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb"), open(writer, "wb", buffering=0) as out:  # noqa: PTH123
        out.write(bytes(1 << 20))  # enough to fill the pipe
        with pytest.raises(dibundle.FileError, match="takes nothing"):
            dibundle.create(pair.base, pair.target, out)


def test_writers_need_not_say_what_they_took(pair: Pair) -> None:
    class Silent:
        pieces: ClassVar[list[bytes]] = []

        def write(self, data: bytes, /) -> None:
            self.pieces.append(data)

    dibundle.create(pair.base, pair.target, Silent())
    assert b"".join(Silent.pieces) == pair.bundle.read_bytes()


def test_signers(pair: Pair, tmp_path: Path) -> None:
    needs.programs("ssh-keygen")
    for who in ("release", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", tmp_path / who]
        subprocess.run(command, check=True)
        (tmp_path / f"{who}.allowed").write_text(f"{who}@example.com {(tmp_path / f'{who}.pub').read_text()}")
    signed = tmp_path / "o.dib"
    signed.write_bytes(pair.bundle.read_bytes())
    succeed("sign", "--key", tmp_path / "release", signed)
    release, other = (
        dibundle.Access(signers=dibundle.Signers(allowed=str(tmp_path / f"{who}.allowed")))
        for who in ("release", "other")
    )
    assert b"".join(dibundle.apply([pair.base, signed], access=release)) == pair.target.read_bytes()
    with dibundle.open_bundle(signed, access=release) as bundle:
        assert "release@example.com" in (bundle.signed_by or "")
    with dibundle.open_bundle(signed) as bundle:
        assert bundle.signed_by is None
    for sources, access in (([pair.base, signed], other), ([pair.base, pair.bundle], release)):
        with pytest.raises(dibundle.SignatureError):
            next(dibundle.apply(sources, access=access))


@pytest.mark.parametrize("given", [["o.dib.sig"], "o.dib.sig", b"-----BEGIN", [Path("o.dib.sig")]])
def test_signatures_are_bytes(given: object) -> None:
    with pytest.raises(TypeError, match="what the files hold, as a tuple of bytes"):
        dibundle.Signers(allowed="signers", signatures=given)  # type: ignore[arg-type]


def test_progress_is_told(pair: Pair) -> None:
    busy = threading.Lock()
    told: list[str] = []
    totals: list[int] = []
    done: list[int] = []

    class Told:
        def phase(self, name: str, total: int) -> None:
            assert sum(done) == sum(totals)  # the previous phase is complete
            told.append(name)
            totals.append(total)

        def advance(self, count: int) -> None:
            assert busy.acquire(blocking=False)  # one thread at a time
            done.append(count)
            busy.release()

        def note(self, text: str) -> None:
            told.append(text)

    make(pair, progress=Told())
    assert told == ["reading", "comparing", "encoding"]
    for _ in dibundle.apply([pair.base, pair.bundle], progress=Told()):
        pass
    assert told[3:] == ["applying"]
    assert sum(done) == sum(totals)


def test_importing_is_cheap() -> None:
    code = "import dibundle, sys; print([m for m in ('msgpack', 'zstandard', 'click') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert run.stdout.strip() == b"[]"


def test_a_level_or_a_number_of_workers_that_there_is_not(pair: Pair, tmp_path: Path) -> None:
    for options, told in (
        ({"level": 10}, "unknown level 10"),
        ({"level": "6"}, "unknown level '6'"),
        ({"workers": -1}, "invalid number of workers: -1"),
    ):
        with pytest.raises(dibundle.UsageError, match=told) as refused:
            dibundle.create(pair.base, pair.target, tmp_path / "out.dib", **options)
        assert refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_no_bundle(pair: Pair) -> None:
    with pytest.raises(dibundle.UsageError, match="no bundle among the sources"):
        dibundle.open_bundle(pair.base)
    with pytest.raises(dibundle.UsageError, match="no bundle among the sources"):
        next(dibundle.apply([pair.base]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"text\n", "is not a bundle: it begins with 'text"),
        (bytes(4096), "is not a bundle: it begins with"),
        (b"", "truncated bundle: it has 0 bytes"),
    ],
)
def test_what_is_no_bundle_is_told_as_such(content: bytes, told: str, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "t.dib"
    path.write_bytes(content)
    with pytest.raises(dibundle.BundleError, match=told):
        dibundle.open_bundle(path)
    with pytest.raises(dibundle.BundleError, match=told):
        next(dibundle.apply([pair.base, path]))
    if content:
        with pytest.raises(dibundle.BundleError, match=told):
            dibundle.open_bundle(io.BytesIO(content))


def test_a_bundle_that_is_cut_short_is_not_opened(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "t.dib"
    whole = pair.bundle.read_bytes()
    for size in (4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(dibundle.BundleError, match="truncated bundle"):
            dibundle.open_bundle(path)
        with pytest.raises(dibundle.BundleError, match="truncated bundle"):
            next(dibundle.apply([pair.base, path]))
    path.write_bytes(whole + b"more")
    with pytest.raises(dibundle.BundleError, match="bytes follow its last frame"):
        dibundle.open_bundle(path)


def test_parts_are_taken_as_the_command_takes_them(pair: Pair, tmp_path: Path) -> None:
    succeed("create", "--no-base", pair.target, tmp_path / "u.dib", "--split", "128K")
    first, second, *_ = every = sorted(tmp_path.iterdir())
    for sources in (every, [*reversed(every)], [first], [second]):
        assert b"".join(dibundle.apply(sources)) == pair.target.read_bytes()
    with dibundle.open_bundle(second) as bundle:
        assert bundle.size == sum(path.stat().st_size for path in every)
    second.unlink()
    with pytest.raises(dibundle.BundleError, match=r"u\.dib\.002 is missing"):
        dibundle.open_bundle(first)
    first.rename(tmp_path / "other")
    for name in every[1:3]:  # a missing part and an existing part
        with pytest.raises(dibundle.FileError, match=r"u\.dib\.001$"):
            dibundle.open_bundle(name)


def test_signers_are_no_name() -> None:
    with pytest.raises(TypeError, match="not str"):
        dibundle.Access(signers="signers")  # type: ignore[arg-type]


def test_arguments_that_are_none(tmp_path: Path) -> None:
    sources = [io.BytesIO(b"?")]
    with pytest.raises(dibundle.UsageError) as form:
        dibundle.apply_to(sources, tmp_path / "o", form="bogus")  # type: ignore[arg-type]
    with pytest.raises(dibundle.UsageError) as engine:
        dibundle.load(sources, engine="bogus")
    with pytest.raises(dibundle.UsageError) as empty:
        dibundle.load(sources, expect=[])
    with pytest.raises(dibundle.UsageError) as octets:
        dibundle.load(sources, expect=[b"\0" * 32])  # type: ignore[list-item]
    with pytest.raises(dibundle.FileError) as name:
        dibundle.apply_to(sources, "o\0")
    codes = [error.value.code for error in (form, engine, empty, octets, name)]
    assert codes == ["option.form", "engine.unknown", "expect.none", "expect.not_a_digest", "file.name"]


@pytest.mark.parametrize(("total", "piece"), [(100 << 20, 2048), (1000, 1), (7, 7), (0, 2048)])
def test_progress_takes_few_steps(total: int, piece: int) -> None:
    steps: list[int] = []

    class Counted(Silent):
        def advance(self, count: int) -> None:
            steps.append(count)

    progress = Thinned(Counted())
    progress.phase("reading", total)
    for _ in range((total or 100 << 20) // piece):
        progress.advance(piece)
    assert sum(steps) == (total or 100 << 20)
    assert len(steps) <= 335
