"""What sources are taken for, by their content: bundles in archives, parts, and files that are called like others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dibundle.files.context import Context
from dibundle.sources.access import Access
from dibundle.sources.opening import open_sources
from tests.bounds.test_source_bounds import wrapped
from tests.sources.conftest import Files


def test_different_bundles_in_an_archive_have_their_own_sizes(files: Files, tmp_path: Path):
    """They have one name, too: by that the first was refused, as if bytes followed it."""
    (tmp_path / "two.tar").write_bytes(wrapped([files.bundle(*pair).read_bytes() for pair in ((1, 2), (2, 4))]))
    with Context() as context:
        found = open_sources([str(tmp_path / "two.tar")], Access(), context).read_bundles()
        assert [bundle.size for bundle in found] == [files.bundle(*pair).stat().st_size for pair in ((1, 2), (2, 4))]


def test_a_file_called_stdin_is_not_taken_for_it(files: Files, tmp_path: Path):
    """By name it took the place of what stdin is, so that this could be overwritten."""
    (tmp_path / "stdin").write_bytes(files.archive(1).read_bytes())
    bundle = tmp_path / "1-2.dib"
    bundle.write_bytes(files.bundle(1, 2).read_bytes())
    for out, code in ((bundle, 2), (tmp_path / "out.tar", 0)):
        command = [sys.executable, "-m", "dibundle", "apply", "-", "stdin", "-o", out]
        with bundle.open("rb") as stdin:
            ended = subprocess.run(command, stdin=stdin, cwd=tmp_path, capture_output=True, check=False)
        assert ended.returncode == code, ended.stderr
    assert bundle.read_bytes() == files.bundle(1, 2).read_bytes()
