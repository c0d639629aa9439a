"""System faults during a command: full disks, closed pipes, signals, and unusual outputs.

A fault never leaves an incomplete OUT.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import pty
import resource
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests import needs
from tests.pairs import Pair
from tests.program import DIB, dib, shell_code, start, succeed

PATIENCE = 60  # maximum seconds to wait


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    needs.root()
    needs.programs("mount", "umount")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", folder], check=True)


# Full disks


def test_apply_onto_a_full_disk(pair: Pair, small_disk: Path) -> None:
    ended = dib("apply", pair.base, pair.bundle, "-o", small_disk / "b.tar")
    assert ended.code == 3, ended.err
    assert "the disk has" in ended.err  # reported before the first byte
    assert "dib: hint: " in ended.err
    assert list(small_disk.iterdir()) == []


def test_create_onto_a_full_disk(pair: Pair, small_disk: Path) -> None:
    ended = dib("create", "--no-base", pair.target, small_disk / "out.dib")
    assert ended.code == 3, ended.err
    assert "no space left" in ended.err.lower()
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_leaves_the_old_file_alone(pair: Pair, small_disk: Path) -> None:
    (small_disk / "b.tar").write_bytes(b"precious")
    assert dib("apply", pair.base, pair.bundle, "-o", small_disk / "b.tar").code == 3
    assert (small_disk / "b.tar").read_bytes() == b"precious"
    assert len(list(small_disk.iterdir())) == 1


def test_no_room_for_temporary_files_is_told_before_the_first_byte(
    pair: Pair, small_disk: Path, tmp_path: Path
) -> None:
    """If there is no space for temporary files, dib reports this before the first byte of output.

    The whole base is compressed with gzip. Random access to such a base is not possible, so dib writes its content to a
    temporary file.
    """
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(pair.base.read_bytes(), 1))
    for ended in (
        dib("apply", tmp_path / "a.tar.gz", pair.bundle, env={"TMPDIR": str(small_disk)}),
        dib("apply", tmp_path / "a.tar.gz", pair.bundle, "--tmp", small_disk),
    ):
        assert ended.code == 3, ended.err
        assert ended.out == b""
        assert "--tmp" in ended.err
    assert list(small_disk.iterdir()) == []


def test_create_without_room_for_temporary_files(pair: Pair, small_disk: Path, tmp_path: Path) -> None:
    out = _folder(tmp_path)
    ended = dib("create", "--no-base", pair.target, out / "out.dib", "--tmp", small_disk)
    assert ended.code == 3, ended.err
    assert list(small_disk.iterdir()) == list(out.iterdir()) == []


def test_a_device_that_is_full(pair: Pair) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = dib("apply", pair.base, pair.bundle, stdout=full)
    assert ended.code == 3, ended.err
    assert dib("apply", pair.base, pair.bundle, "-o", "/dev/full").code == 3
    assert dib("create", pair.base, pair.target, "/dev/full").code == 3


def test_a_file_size_limit(pair: Pair, tmp_path: Path) -> None:
    out = _folder(tmp_path)
    ended = subprocess.run(
        [*DIB, "apply", pair.base, pair.bundle, "-o", out / "b.tar"],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert ended.returncode == 3, ended.stderr
    assert list(out.iterdir()) == []


def test_a_folder_that_is_not_there(pair: Pair, tmp_path: Path) -> None:
    ended = dib("create", pair.base, pair.target, tmp_path / "absent" / "out.dib")
    assert ended.code == 3
    assert "no such file or directory" in ended.err.lower()
    assert dib("apply", pair.base, pair.bundle, "-o", tmp_path / "absent" / "b.tar").code == 3


def test_out_is_a_folder(pair: Pair, tmp_path: Path) -> None:
    assert dib("create", pair.base, pair.target, tmp_path).code == 3
    assert list(tmp_path.iterdir()) == []
    # dib writes targets into the folder, but a target never replaces a folder
    (tmp_path / "example.com_app_2.tar").mkdir()
    assert dib("apply", pair.base, pair.bundle, "-o", tmp_path).code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["example.com_app_2.tar"]


# Closed pipes


def test_a_pipe_closed_by_its_reader(pair: Pair) -> None:
    with start("apply", pair.base, pair.bundle) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
    assert shell_code(process.returncode) == 141
    assert said == b""


def test_create_into_a_pipe_closed_by_its_reader(pair: Pair) -> None:
    with start("create", "--no-base", pair.target, "-o", "-") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert shell_code(process.returncode) == 141
    assert b"error" not in said


def test_inspect_into_a_pipe_closed_by_its_reader(pair: Pair) -> None:
    with start("inspect", pair.bundle, "--list") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()
    assert shell_code(process.returncode) == 141
    assert said == b""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(closed: str, pair: Pair, tmp_path: Path) -> None:
    """Commands succeed with closed standard streams, unless they have to write an archive to stdout."""

    def run(*arguments: str | Path) -> tuple[int, bytes]:
        command = f"exec {shlex.join([*DIB, *map(str, arguments)])} {closed}"
        done = subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE
        )
        return shell_code(done.returncode), done.stderr

    out = tmp_path / "out"
    for arguments in (
        ("create", pair.base, pair.target, out),
        ("apply", pair.base, pair.bundle, "-o", out),
        ("verify", "--json", pair.bundle),
        ("inspect", pair.bundle),
    ):
        code, told = run(*arguments)
        assert (code, b"Traceback" in told) == (0, False), told
    assert out.read_bytes() == pair.target.read_bytes()
    code, told = run("apply", pair.base, pair.bundle)
    assert code == (3 if ">&-" in closed.split() else 0)
    assert (b"cannot write -: " in told) is (closed == ">&-")
    code, told = run("apply", pair.base, "-")
    assert code == (3 if "<&-" in closed else 5)  # the command fails, because an empty input is not a bundle
    assert run("nothing")[0] == 2


# Signals. Half of the bundle comes through a pipe. So the command waits for the other half when it gets the signal.


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    """Give commands the default action for SIGHUP, even if the tests were started with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, 137)]


def test_ctrl_c_while_dib_starts(tmp_path: Path) -> None:
    # an import of this file has the same effect as a signal during the import of click
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    ended = dib("doctor", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, ended.out, ended.err) == (130, b"", "")


@pytest.mark.parametrize(("number", "code"), SIGNALS[:3])
def test_a_signal_in_a_callback_of_the_collector(number: signal.Signals, code: int, pair: Pair, tmp_path: Path) -> None:
    """A signal during a callback of the garbage collector ends dib. Without dib's handling, Python would only print the
    exception.
    """
    out = tmp_path / "out"
    script = (
        "import gc, os, sys; from dibundle.cli.main import run\n"
        f"def once(*_): gc.callbacks.clear(); os.kill(os.getpid(), {int(number)})\n"
        "def begin(*arguments): gc.callbacks.append(once); gc.collect(); import time; time.sleep(5)\n"
        "import dibundle.cli.commands.create as command; command.create = begin\n"
        "run()"
    )
    arguments = [sys.executable, "-c", script, "create", pair.base, pair.target, out]
    ended = subprocess.run(arguments, capture_output=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr.strip(), out.exists()) == (code, b"", b"", False)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("existing", [None, b"precious"])
@pytest.mark.parametrize("moment", ["at the beginning", "while it waits"])
def test_a_signal_while_apply_writes_a_file(
    number: signal.Signals, code: int, existing: bytes | None, moment: str, pair: Pair, tmp_path: Path
) -> None:
    out = _folder(tmp_path)
    if existing:
        (out / "b.tar").write_bytes(existing)
    bundle = pair.bundle.read_bytes()
    with start("apply", pair.base, "-", "-o", out / "b.tar", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(bundle[: len(bundle) // 2])
        process.stdin.flush()
        _wait_for(lambda: any(path.name.endswith(".part") for path in out.iterdir()))
        if moment == "while it waits":
            _wait_for(lambda: _is_drained(process.stdin))
        process.send_signal(number)
        process.wait(PATIENCE)
    assert shell_code(process.returncode) == code
    left = {path.name for path in out.iterdir()} - {"b.tar"}
    assert (out / "b.tar").exists() == (existing is not None)
    assert not existing or (out / "b.tar").read_bytes() == existing
    assert len(left) == (1 if number == signal.SIGKILL else 0)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_apply_writes_to_a_pipe(number: signal.Signals, code: int, pair: Pair, tmp_path: Path) -> None:
    """If a signal ends an apply into a pipe, the reader gets the archive's beginning, and no temporary file is left."""
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(pair.base.read_bytes(), 1))
    spool = _folder(tmp_path)
    bundle = pair.bundle.read_bytes()
    with start("apply", tmp_path / "a.tar.gz", "-", "--tmp", spool, stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(bundle[: len(bundle) // 2])
        process.stdin.flush()
        _wait_for(lambda: _holds_unlinked_file(process.pid, spool) and _is_drained(process.stdin))
        process.send_signal(number)
        written = process.stdout.read()
    assert shell_code(process.returncode) == code
    assert pair.target.read_bytes().startswith(written)
    assert len(written) < pair.target.stat().st_size
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_create_works(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """A signal ends create while create waits for more data from a target that is a named pipe."""
    out = _folder(tmp_path)
    os.mkfifo(tmp_path / "b.tar")
    with (
        start("create", "--no-base", tmp_path / "b.tar", out / "out.dib") as process,
        (tmp_path / "b.tar").open("wb", buffering=0) as writer,
    ):
        writer.write(bytes(512))
        time.sleep(0.2)
        process.send_signal(number)
        process.wait(PATIENCE)
    assert shell_code(process.returncode) == code
    assert [path for path in out.iterdir() if number != signal.SIGKILL or not path.name.endswith(".part")] == []


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.slow
def test_a_signal_while_create_encodes(number: signal.Signals, code: int, pair: Pair, tmp_path: Path) -> None:
    out, spool = _folder(tmp_path), tmp_path / "spool"
    spool.mkdir()
    precious = pair.bundle.read_bytes()
    (out / "out.dib").write_bytes(precious)
    arguments = ("create", "-9", pair.base, pair.target, out / "out.dib", "--tmp", spool)
    with start(*arguments) as process:
        _wait_for(lambda: _holds_unlinked_file(process.pid, spool))
        process.send_signal(number)
        sent = time.monotonic()
        process.wait(PATIENCE)
        took = time.monotonic() - sent
    assert shell_code(process.returncode) == code
    assert took < 5
    assert (out / "out.dib").read_bytes() == precious
    assert list(spool.iterdir()) == []
    assert len(list(out.iterdir())) == 1 or number == signal.SIGKILL


def test_a_hangup_that_is_ignored_stays_so(pair: Pair, tmp_path: Path) -> None:
    bundle = pair.bundle.read_bytes()
    command = f"trap '' HUP; exec {shlex.join([*DIB, 'apply', str(pair.base), '-', '-o', str(tmp_path / 'b.tar')])}"
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin
        process.stdin.write(bundle[: len(bundle) // 2])
        process.stdin.flush()
        _wait_for(lambda: any(path.name.endswith(".part") for path in tmp_path.iterdir()))
        process.send_signal(signal.SIGHUP)
        process.stdin.write(bundle[len(bundle) // 2 :])
        process.stdin.close()
    assert process.returncode == 0
    assert (tmp_path / "b.tar").read_bytes() == pair.target.read_bytes()


# A short run with system faults of all other kinds; tests/faults.py describes the long run


@pytest.mark.slow
def test_faults_of_every_kind() -> None:
    command = [sys.executable, "-m", "tests.faults", "--times", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Outputs that are not plain files


def test_an_output_whose_name_has_as_many_bytes_as_the_system_allows(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / ("\U0001f600" * 62 + ".tar")
    succeed("apply", pair.base, pair.bundle, "-o", out)
    assert out.read_bytes() == pair.target.read_bytes()
    folder = tmp_path / ("\U0001f600" * 63)
    succeed("apply", pair.base, pair.bundle, "--format", f"oci:{folder}")
    assert (folder / "index.json").exists()


def test_a_symlink_is_followed(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.dib", tmp_path / "link.dib"
    link.symlink_to("there/real.dib")
    for _ in ("dangling", "to a file"):
        succeed("create", pair.base, pair.target, link)
        assert link.is_symlink()
        assert real.read_bytes() == pair.bundle.read_bytes()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link.dib", "real.dib", "there"]


def test_a_link_of_another_user_in_a_shared_folder_is_not_followed(pair: Pair, tmp_path: Path) -> None:
    needs.root()
    shared, own = tmp_path / "shared", tmp_path / "own.tar"
    shared.mkdir()
    shared.chmod(0o1777)
    own.write_bytes(b"precious")
    (shared / "new.tar").symlink_to(own)
    (shared / "hop").symlink_to(shared / "new.tar")
    os.chown(shared / "new.tar", 65534, 65534, follow_symlinks=False)
    for name in ("new.tar", "hop"):
        ended = dib("apply", pair.base, pair.bundle, "-o", shared / name)
        assert (ended.code, own.read_bytes()) == (3, b"precious")
        assert "symbolic link that belongs to another user" in ended.err
    os.chown(shared / "new.tar", 0, 0, follow_symlinks=False)
    succeed("apply", pair.base, pair.bundle, "-o", shared / "hop")
    assert own.read_bytes() == pair.target.read_bytes()


FULL_AT_THE_SECOND = """
import errno, os, sys
real, synced = os.fsync, []
def full(descriptor):
    synced.append(descriptor)
    if len(synced) == 2:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(descriptor)
os.fsync = full
from dibundle.cli.main import run
run("dib")
"""


def test_files_that_go_together_are_all_there_or_none(pair: Pair, tmp_path: Path) -> None:
    """If the disk is full when the second of two files is finished, neither file is left."""
    both, out = tmp_path / "both.dib", tmp_path / "out"
    succeed("create", "--no-base", pair.base, pair.target, "-o", both)
    for command in (
        ["apply", both, "-o", f"{out}/"],
        ["create", "--no-base", pair.target, "-o", out, "--split", "64K"],
    ):
        done = subprocess.run([sys.executable, "-c", FULL_AT_THE_SECOND, *command], capture_output=True, check=False)
        assert done.returncode == 3, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["both.dib"]


def test_the_mode_of_an_existing_file_stays(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"")
    (tmp_path / "b.tar").chmod(0o600)
    succeed("apply", pair.base, pair.bundle, "-o", tmp_path / "b.tar")
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600


def test_a_new_file_has_the_mode_that_the_umask_gives(pair: Pair, tmp_path: Path) -> None:
    done = subprocess.run([*DIB, "apply", pair.base, pair.bundle, "-o", tmp_path / "b.tar"], umask=0o027, check=True)
    assert done.returncode == 0
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("make", ["name", "symlink", "hard link"])
@pytest.mark.parametrize("what", ["base", "target"])
def test_create_never_overwrites_an_input(make: str, what: str, pair: Pair, tmp_path: Path) -> None:
    inputs = _inputs(pair, tmp_path)
    out = _other_name(inputs[what], make, tmp_path)
    ended = dib("create", inputs["base"], inputs["target"], out)
    assert ended.code == 2, ended.err
    _untouched(inputs, pair)


@pytest.mark.parametrize("make", ["name", "symlink", "hard link"])
@pytest.mark.parametrize("what", ["base", "bundle"])
def test_apply_never_overwrites_an_input(make: str, what: str, pair: Pair, tmp_path: Path) -> None:
    inputs = _inputs(pair, tmp_path)
    out = _other_name(inputs[what], make, tmp_path)
    ended = dib("apply", inputs["base"], inputs["bundle"], "-o", out)
    assert ended.code == 2, ended.err
    _untouched(inputs, pair)


@pytest.mark.parametrize("what", ["base", "bundle"])
def test_stdout_that_is_an_input(what: str, pair: Pair, tmp_path: Path) -> None:
    """If stdout is also an input, as in ``dib apply a.tar out.dib >> a.tar``, dib refuses and leaves the input
    unchanged.
    """
    inputs = _inputs(pair, tmp_path)
    with inputs[what].open("ab") as stdout:
        ended = dib("apply", inputs["base"], inputs["bundle"], stdout=stdout)
    assert ended.code == 2, ended.err
    _untouched(inputs, pair)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_by_its_names(name: str, pair: Pair) -> None:
    created = succeed("create", pair.base, pair.target, name)
    assert created.out == pair.bundle.read_bytes()
    applied = succeed("apply", pair.base, pair.bundle, "-o", name)
    assert applied.out == pair.target.read_bytes()


def test_stdout_into_a_file(pair: Pair, tmp_path: Path) -> None:
    """If stdout is redirected to a file, dib keeps the file's earlier content, as any program does."""
    (tmp_path / "out").write_bytes(b"before ")
    with (tmp_path / "out").open("ab") as stdout:
        assert dib("create", pair.base, pair.target, "-o", "-", stdout=stdout).code == 0
    assert (tmp_path / "out").read_bytes() == b"before " + pair.bundle.read_bytes()


def test_a_named_pipe_is_written_directly(pair: Pair, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with start("apply", pair.base, pair.bundle, "-o", tmp_path / "pipe") as process:
        assert (tmp_path / "pipe").read_bytes() == pair.target.read_bytes()
    assert process.returncode == 0
    assert (tmp_path / "pipe").is_fifo()


def test_a_null_device(pair: Pair) -> None:
    succeed("apply", pair.base, pair.bundle, "-o", "/dev/null")
    succeed("create", pair.base, pair.target, "/dev/null")
    assert Path("/dev/null").is_char_device()


# Terminals

INTO_A_TERMINAL = {
    "apply": lambda pair: ("apply", pair.base, pair.bundle),
    "apply -o -": lambda pair: ("apply", pair.base, pair.bundle, "-o", "-"),
    "apply -o /dev/stdout": lambda pair: ("apply", pair.base, pair.bundle, "-o", "/dev/stdout"),
    "create -": lambda pair: ("create", pair.base, pair.target, "-"),
    "create /dev/stdout": lambda pair: ("create", pair.base, pair.target, "/dev/stdout"),
}


@pytest.mark.parametrize("arguments", INTO_A_TERMINAL.values(), ids=INTO_A_TERMINAL)
def test_nothing_binary_goes_to_a_terminal(arguments: Callable[[Pair], tuple[str | Path, ...]], pair: Pair) -> None:
    leader, follower = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(_read_terminal(leader)))
    with os.fdopen(follower, "wb", buffering=0) as terminal:
        reader.start()
        ended = dib(*arguments(pair), stdout=terminal)
    reader.join()
    os.close(leader)
    assert ended.code == 2, ended.err
    assert "terminal" in ended.err
    assert shown == []


def _read_terminal(leader: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # EIO: the other end is not open in any process
        while piece := os.read(leader, 65536):
            yield piece


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _inputs(pair: Pair, tmp_path: Path) -> dict[str, Path]:
    inputs = {}
    for name in ("base", "target", "bundle"):
        inputs[name] = tmp_path / getattr(pair, name).name
        inputs[name].write_bytes(getattr(pair, name).read_bytes())
    return inputs


def _untouched(inputs: dict[str, Path], pair: Pair) -> None:
    for name, path in inputs.items():
        assert path.read_bytes() == getattr(pair, name).read_bytes()
    assert not [path for path in inputs["base"].parent.iterdir() if path.name.endswith(".part")]


def _other_name(path: Path, make: str, tmp_path: Path) -> Path:
    if make == "symlink":
        (tmp_path / "other").symlink_to(path.name)
    elif make == "hard link":
        (tmp_path / "other").hardlink_to(path)
    return path if make == "name" else tmp_path / "other"


def _wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def _is_drained(pipe: IO[bytes] | None) -> bool:
    """Return whether a pipe is empty. If it is empty, first wait 0.2 s, until the pipe's reader waits for data."""
    assert pipe
    if int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
        return False
    time.sleep(0.2)
    return True


def _holds_unlinked_file(process: int, folder: Path) -> bool:
    """Return whether a process still has a deleted file of ``folder`` open."""
    found = False
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            found |= target.startswith(f"{folder}/") and target.endswith(" (deleted)")
    return found
