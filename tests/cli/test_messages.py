"""The output of an error. dib exits with a code, writes one or two lines to stderr and nothing to stdout, and leaves no
file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dibundle.errors import human
from tests import pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.pairs import Pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pairs.make(tmp_path_factory.mktemp("messages"), megabytes=1)


def dib(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "dibundle", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=cwd)


def refused(code: int, *texts: str, run: subprocess.CompletedProcess[bytes]) -> None:
    """Assert an exit code, an error message of at most three lines, and an empty stdout."""
    told = run.stderr.decode()
    assert run.returncode == code, told
    assert run.stdout == b""
    assert told.startswith("dib: error: ")
    assert len(told.splitlines()) <= 3
    assert "Traceback" not in told
    for text in texts:
        assert text in told


def test_wrong_base_is_named_before_the_first_byte(pair, tmp_path):
    other = tmp_path / "other.tar"
    other.write_bytes(docker_save([TestImage([build_layer([file("x", b"y")])], ["other:1"])]))
    refused(6, "does not contain", "example.com/app:1", "docker save -o", run=dib("apply", other, pair.bundle))
    refused(6, "needs a base", "example.com/app:1", run=dib("apply", pair.bundle))
    refused(6, "does not contain", run=dib("apply", "--check", other, pair.bundle))
    out = tmp_path / "out.tar"
    refused(6, run=dib("apply", other, pair.bundle, "-o", out))
    assert not out.exists()
    assert list(tmp_path.iterdir()) == [other]


def test_another_image_under_the_name_of_the_base_is_told(pair, tmp_path):
    other = tmp_path / "other.tar"
    other.write_bytes(docker_save([TestImage([build_layer([file("x", b"y")])], ["example.com/app:1"])]))
    wanted = json.loads(dib("inspect", "--json", pair.bundle).stdout)["base"]["images"][0]["id"]
    out = tmp_path / "out.tar"
    for arguments in (("apply", other, pair.bundle, "-o", out), ("apply", "--check", other, pair.bundle)):
        told = (
            "app:1 is image sha256:",
            f", but the bundle needs image {wanted}",
            "where the bundle was created",
        )
        refused(6, *told, run=dib(*arguments))
    assert list(tmp_path.iterdir()) == [other]


def test_check_says_yes_in_a_line(pair):
    run = dib("apply", "--check", pair.base, pair.bundle)
    assert run.returncode == 0
    assert run.stdout.startswith(b"ok: example.com/app:1 is here; applying makes example.com/app:2")


def test_arguments_are_recognised_by_content_in_any_order(pair):
    for order in ((pair.base, pair.bundle), (pair.bundle, pair.base)):
        run = dib("apply", *order)
        assert run.returncode == 0
        assert run.stdout == pair.target.read_bytes()
    run = dib("apply", pair.base, "-", stdin=pair.bundle.read_bytes())
    assert run.stdout == pair.target.read_bytes()
    run = dib("apply", "-", pair.bundle, stdin=pair.base.read_bytes())
    assert run.stdout == pair.target.read_bytes()
    assert dib("apply", pair.alone).stdout == pair.target.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, ""),
        (("nonsense",), 2, "nonsense"),
        (("create",), 2, "no archives given"),
        (("create", "a.tar", "out.dib"), 2, "BASE TARGET OUT"),
        (("create", "--level", "12", "a", "b", "c"), 2, "12"),
        (("create", "missing.tar", "missing.tar", "out.dib"), 3, "cannot open missing.tar"),
        (("create", "nginx:1.25", "nginx:1.26", "out.dib"), 3, "give docker-daemon:nginx:1.25"),
        (("apply",), 2, ""),
        (("apply", "missing.dib"), 3, "cannot open missing.dib"),
        (("apply", "-", "-"), 2, "stdin can be used only once"),
        (("inspect", "missing.dib"), 3, "cannot open"),
        (("verify", "missing.dib"), 3, "cannot open"),
        (("load", "missing.dib"), 3, "cannot open"),
    ],
)
def test_wrong_command_lines(tmp_path, arguments, code, text):
    run = dib(*arguments, cwd=tmp_path)
    assert run.returncode == code
    assert text in run.stderr.decode()
    assert run.stdout == b""
    assert not list(tmp_path.iterdir())


def test_what_is_no_image_archive_is_refused_with_its_reason(pair, tmp_path):
    layer = tmp_path / "layer.tar"
    layer.write_bytes(build_layer([file("etc/os-release", b"x"), file("bin/sh", b"y")]))
    html = tmp_path / "page.tar"
    html.write_bytes(b"<!DOCTYPE html><html>not found</html>")
    empty = tmp_path / "empty.tar"
    empty.touch()
    for path, text in ((layer, "not an image archive"), (html, "web page"), (empty, "empty"), (tmp_path, "directory")):
        out = tmp_path / "out.dib"
        refused(4, text, run=dib("create", path, pair.target, out))
        refused(4, text, run=dib("create", pair.base, path, out))
        assert not out.exists()
    refused(2, "no bundle", run=dib("apply", pair.base, pair.target))
    refused(2, "is a bundle", run=dib("create", pair.bundle, pair.target, tmp_path / "out.dib"))


def test_an_input_is_never_overwritten(pair):
    before = pair.base.read_bytes()
    refused(2, "is both input", run=dib("create", pair.base, pair.target, pair.base))
    refused(2, "is both input", run=dib("apply", pair.base, pair.bundle, "-o", pair.base))
    assert pair.base.read_bytes() == before


def test_limits_on_the_target_are_kept(pair):
    refused(5, "--max-size", run=dib("apply", "--max-size", "1000", pair.base, pair.bundle))


def test_verify(pair, tmp_path):
    assert b"undamaged" in dib("verify", pair.bundle).stdout
    told = dib("verify", pair.bundle, "--base", pair.base).stdout.decode()
    sizes = [re.escape(human(path.stat().st_size)) for path in (pair.bundle, pair.target)]
    assert re.search(rf": {sizes[0]}, rebuilds sha256:[0-9a-f]{{64}} \({sizes[1]}\)$", told, re.MULTILINE)
    assert b"rebuilds sha256:" in dib("verify", pair.alone).stdout
    damaged = bytearray(pair.bundle.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.dib").write_bytes(damaged)
    refused(7, "damaged", run=dib("verify", tmp_path / "damaged.dib"))


def test_inspect_shows_what_is_needed_and_made(pair):
    told = dib("inspect", pair.bundle).stdout.decode()
    for text in ("example.com/app:1", "example.com/app:2", "needs", "makes", "layer", "sha256:"):
        assert text in told


def test_inspect_lists_operations(pair):
    told = dib("inspect", "--list", pair.bundle).stdout.decode()
    assert re.search(r"^add +[\d,]+  ", told, re.MULTILINE)
    assert re.search(r"^patch ", told, re.MULTILINE)
    every = dib("inspect", "--list", "--base", pair.base, pair.bundle).stdout.decode()
    assert len(every.splitlines()) >= len(told.splitlines())
    assert "(a name that the bundle does not tell)" not in every


def test_a_listing_is_chosen_from_wherever_it_is_shown(pair):
    told = dib("inspect", "--tree", "--depth", "1", "--op", "add", pair.bundle).stdout.decode()
    assert told.splitlines()[1].endswith("  /")
    assert len(told.splitlines()) < len(dib("inspect", "--tree", pair.bundle).stdout.splitlines())
    told = json.loads(dib("diff", "--json", "--op", "add", pair.base, pair.target).stdout)
    assert {line["operation"] for line in told["operations"]} == {"add"}


def test_inspect_json(pair):
    told = json.loads(dib("inspect", "--json", "--list", pair.bundle).stdout)
    assert told["schema"] == "dib.inspect/1"
    assert told["size"] == pair.bundle.stat().st_size
    assert told["targets"][0]["images"][0]["names"] == ["example.com/app:2"]
    assert {line["operation"] for line in told["operations"]} >= {"add", "patch", "mode"}


def test_names_from_archives_are_escaped(tmp_path):
    nasty = b"\x1b]0;title\x07\xff\xe2\x80\xae\xc2\x9b.txt".decode("utf-8", "surrogateescape")
    layer = build_layer([file(nasty, b"content")])
    target = tmp_path / "t.tar"
    target.write_bytes(docker_save([TestImage([layer], ["evil\x1b[31m:1"])]))
    assert dib("create", "--no-base", target, tmp_path / "o.dib").returncode == 0
    for arguments in (("--list",), ()):
        told = dib("inspect", *arguments, tmp_path / "o.dib").stdout
        assert b"\x1b" not in told
        assert b"\x07" not in told
        assert b"\xe2\x80\xae" not in told
    assert b"\\x1b]0;title\\x07\\xff\\u202e\\x9b.txt" in dib("inspect", "--list", tmp_path / "o.dib").stdout


def test_compressed_archives_are_taken_and_said(pair, tmp_path):
    import gzip

    packed = tmp_path / "b.tar.gz"
    packed.write_bytes(gzip.compress(pair.target.read_bytes(), 1))
    run = dib("create", pair.base, packed, tmp_path / "o.dib")
    assert run.returncode == 0
    assert "gzip is removed" in run.stderr.decode()
    assert dib("apply", pair.base, tmp_path / "o.dib").stdout == pair.target.read_bytes()
    assert b"outer compression removed: gzip" in dib("inspect", tmp_path / "o.dib").stdout


def test_the_demo_needs_nothing(tmp_path):
    run = dib("demo", "--keep", tmp_path)
    assert run.returncode == 0
    assert b"byte for byte: yes" in run.stdout
    assert (tmp_path / "result.tar").read_bytes() == (tmp_path / "new.tar").read_bytes()


def test_help_and_version():
    assert dib("--version").stdout.startswith(b"dib 0.")
    for command in ("create", "apply", "load", "inspect", "verify", "demo"):
        told = dib(command, "--help").stdout.decode()
        assert told.startswith(f"Usage: dib {command}")


def test_quiet_says_nothing(pair, tmp_path):
    run = dib("create", "-q", pair.base, pair.target, tmp_path / "o.dib")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_short_levels(pair, tmp_path):
    fast = dib("create", "-1", pair.base, pair.target, tmp_path / "fast.dib")
    assert fast.returncode == 0
    assert dib("apply", pair.base, tmp_path / "fast.dib").stdout == pair.target.read_bytes()


def test_a_compressed_base_is_no_news(pair, tmp_path):
    packed = tmp_path / "c8d.tar"
    old, _ = pairs.images(1)
    packed.write_bytes(docker_save([old], "c8d", "gzip"))
    run = dib("apply", packed, pair.bundle)
    assert run.returncode == 0
    assert run.stdout == pair.target.read_bytes()
    (line,) = run.stderr.decode().splitlines()
    assert line.startswith("stdout: ")


def test_a_temporary_folder_that_is_not_there_is_named(pair, tmp_path):
    old, _ = pairs.images(1)
    packed = tmp_path / "c8d.tar"
    packed.write_bytes(docker_save([old], "c8d", "gzip"))
    refused(3, "temporary file in /nowhere", run=dib("apply", "-q", "--tmp", "/nowhere", packed, pair.bundle))


def test_the_demo_overwrites_nothing(tmp_path):
    (tmp_path / "old.tar").write_bytes(b"precious")
    refused(2, "already exists", run=dib("demo", "--keep", tmp_path))
    assert (tmp_path / "old.tar").read_bytes() == b"precious"


def test_half_an_archive_is_refused(pair, tmp_path):
    half = tmp_path / "half.tar"
    whole = pair.target.read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "o.dib"
    refused(4, "half.tar", run=dib("create", "-q", pair.base, half, out))
    refused(4, "half.tar", run=dib("create", "-q", half, pair.target, out))
    assert not out.exists()


def test_a_damaged_layer_of_a_base_is_told(pair, tmp_path):
    damaged = bytearray(pair.base.read_bytes())
    damaged[len(damaged) // 4] ^= 1
    (tmp_path / "a.tar").write_bytes(damaged)
    run = dib("create", tmp_path / "a.tar", pair.target, tmp_path / "o.dib")
    assert run.returncode == 0
    assert "differs from its digest in the archive" in run.stderr.decode()


def test_a_compressed_bundle_is_named_as_one(pair, tmp_path):
    import gzip

    packed = tmp_path / "o.dib.gz"
    packed.write_bytes(gzip.compress(pair.bundle.read_bytes()))
    refused(4, "a bundle compressed with gzip", "decompress it", run=dib("apply", pair.base, packed))


def test_a_bundle_of_another_length_is_refused_by_its_head(pair, tmp_path):
    whole = pair.bundle.read_bytes()
    for data in (whole[:-3], whole + b"\0"):
        (tmp_path / "o.dib").write_bytes(data)
        refused(5, "wanted", run=dib("inspect", tmp_path / "o.dib"))
        refused(5, "wanted", run=dib("apply", "--check", pair.base, tmp_path / "o.dib"))


def test_a_level_is_no_value_of_another_option(pair, tmp_path):
    run = dib("create", "-q", "-o", "-1", pair.base, pair.target, cwd=tmp_path)
    assert run.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["-1"]


def test_words_are_kept_as_typed(pair):
    assert "Foo.DIB" in dib("inspect", pair.bundle, "Foo.DIB").stderr.decode()


@pytest.mark.parametrize(
    ("module", "hint"),
    [("_lzma", "use a Python that has this module"), ("msgpack", "pip install --force-reinstall msgpack")],
)
def test_a_module_that_is_not_there_is_named(pair, module, hint):
    """If a module is missing, as in some builds of Python, the error names the module."""
    code = f"import sys; sys.modules[{module!r}] = None; from dibundle.cli.main import run; run()"
    command = [sys.executable, "-c", code, "apply", pair.base, pair.bundle]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    refused(3, f"lacks the module {module}", hint, run=ended)
