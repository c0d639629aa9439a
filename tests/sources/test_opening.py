"""Types of sources, recognized by content.

The sources are bundles in archives, parts, and files with misleading names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dibundle.files.context import Context
from dibundle.sources import names
from dibundle.sources.access import Access
from dibundle.sources.opening import open_sources
from tests.bounds.test_source_bounds import wrapped
from tests.sources.conftest import Files, Program


def test_different_bundles_in_an_archive_have_their_own_sizes(files: Files, tmp_path: Path):
    """All bundles in one archive have the same name.

    Before the fix, this confused dib: it refused the first bundle, with an error about trailing bytes.
    """
    (tmp_path / "two.tar").write_bytes(wrapped([files.bundle(*pair).read_bytes() for pair in ((1, 2), (2, 4))]))
    with Context() as context:
        found = open_sources([str(tmp_path / "two.tar")], Access(), context).read_bundles()
        assert [bundle.size for bundle in found] == [files.bundle(*pair).stat().st_size for pair in ((1, 2), (2, 4))]


def test_a_file_called_stdin_is_not_taken_for_it(files: Files, tmp_path: Path):
    """A file with the name stdin is not mistaken for standard input.

    Before the fix, if a file named stdin existed, dib could overwrite the file that was redirected to standard input.
    """
    (tmp_path / "stdin").write_bytes(files.archive(1).read_bytes())
    bundle = tmp_path / "1-2.dib"
    bundle.write_bytes(files.bundle(1, 2).read_bytes())
    for out, code in ((bundle, 2), (tmp_path / "out.tar", 0)):
        command = [sys.executable, "-m", "dibundle", "apply", "-", "stdin", "-o", out]
        with bundle.open("rb") as stdin:
            ended = subprocess.run(command, stdin=stdin, cwd=tmp_path, capture_output=True, check=False)
        assert ended.returncode == code, ended.stderr
    assert bundle.read_bytes() == files.bundle(1, 2).read_bytes()


def test_a_base_is_no_part_by_its_name(files: Files, dib: Program, tmp_path: Path):
    """Before the fix, dib silently read another file instead of the file that the user had named."""
    base, out = tmp_path / "img.002", tmp_path / "out.tar"
    base.write_bytes(files.archive(1).read_bytes())
    for beside in (b"junk", files.bundle(2, 4).read_bytes()):
        (tmp_path / "img.001").write_bytes(beside)
        assert dib("apply", base, files.bundle(1, 2), "-o", out).code == 0
        ended = dib("verify", files.bundle(1, 2), "--base", base)
        assert ended.code == 0, ended.err


def test_every_named_source_and_every_part_is_an_input(files: Files, dib: Program, tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"z.00{number}").write_bytes(files.archive(number).read_bytes())
    named = (tmp_path / "z.001", tmp_path / "z.002", files.bundle(1, 2))
    ended = dib("apply", *named, "-o", tmp_path / "z.002")
    assert (ended.code, "is both input" in ended.err) == (2, True)
    assert (tmp_path / "z.002").read_bytes() == files.archive(2).read_bytes()
    whole = files.bundle(1, 2).read_bytes()
    (tmp_path / "u.dib.001").write_bytes(whole[:2000])
    (tmp_path / "u.dib.002").write_bytes(whole[2000:])
    for given in ((tmp_path / "u.dib.001",), (tmp_path / "u.dib.001", tmp_path / "u.dib.002")):
        ended = dib("apply", files.archive(1), *given, "-o", tmp_path / "u.dib.002")
        assert (ended.code, "is both input" in ended.err) == (2, True)
    assert (tmp_path / "u.dib.002").read_bytes() == whole[2000:]


def test_a_pipe_is_no_part(files: Files, dib: Program, tmp_path: Path):
    """Before the fix, opening the pipe waited forever."""
    shutil.copy(files.bundle(1, 2), tmp_path / "u.dib.001")
    os.mkfifo(tmp_path / "u.dib.002")
    for name in ("u.dib.001", "u.dib.002"):
        ended = dib("inspect", tmp_path / name)
        assert ended.code == 0, ended.err


def test_a_file_called_like_an_image_in_an_engine_is_not_that_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, a file that came with a bundle could replace the base."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docker-daemon:app:1").write_bytes(b"planted")
    assert names.engine_of("docker-daemon:app:1") == ("docker-daemon", "app:1")
    assert names.engine_of("./docker-daemon:app:1") is None
    assert names.path_of("./docker-daemon:app:1") == "./docker-daemon:app:1"
