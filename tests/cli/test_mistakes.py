"""Mistakes of new users. Each mistake gives the right exit code, at most three lines, and a hint that the user can
follow.
"""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dibundle.cli import man
from dibundle.cli.main import _COMMANDS
from dibundle.errors import FileError, install_hint
from dibundle.files.destination import Destination
from tests import pairs
from tests.builders import TestImage, build_layer, docker_save, file, folder
from tests.program import DIB, dib, succeed


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, with a.tar, b.tar, out.dib, and files that are neither archives nor bundles."""
    path = tmp_path_factory.mktemp("mistakes")
    pair = pairs.make(path, megabytes=1)
    bundle, target = pair.bundle.read_bytes(), pair.target.read_bytes()
    exported = [folder("bin/"), file("bin/sh", b"x" * 1000), file("etc/os-release", b"y"), file(".dockerenv")]
    (path / "exported.tar").write_bytes(build_layer(exported))
    (path / "half.tar").write_bytes(target[:500_000])
    (path / "half.dib").write_bytes(bundle[:-5000])
    (path / "head.dib").write_bytes(bundle[:40])
    (path / "parts.dib.001").write_bytes(bundle[:-9])
    (path / "empty.dib").touch()
    (path / "empty.tar").touch()
    (path / "page.dib").write_bytes(b"<!DOCTYPE html><html><title>404</title></html>")
    (path / "elf.dib").write_bytes(b"\x7fELF\2\1\1" + bytes(600))
    (path / "zeros.dib").write_bytes(bytes(4096))
    (path / "notes.txt").write_text("hello\n")
    (path / "out.dib.gz").write_bytes(gzip.compress(bundle))
    (path / "text.dib").write_bytes(bundle.replace(b"\n", b"\r\n"))
    (path / "damaged.dib").write_bytes(bundle[:-9] + bytes(9))
    (path / "other.tar").write_bytes(docker_save([TestImage([build_layer([file("x", b"y")])], ["other:1"])]))
    (path / "folder").mkdir()
    succeed("wrap", "--unlinked", path / "out.dib", "--tag", "parcel:1", "-o", path / "wrapped.tar")
    with zipfile.ZipFile(path / "a.zip", "w") as archive:
        archive.writestr("a.tar", pair.base.read_bytes())
    return path


MISTAKES: list[tuple[str, int, str, str]] = [
    # the command, the exit code, a part of the message, a part of the hint
    ("create out.dib a.tar new.dib", 2, "out.dib is a bundle", "dib apply OLD.tar out.dib -o new.tar"),
    ("create a.tar out.dib new.dib", 2, "out.dib is a bundle", "dib apply OLD.tar out.dib -o new.tar"),
    ("create a.tar out.dib b2.tar", 2, "out.dib is a bundle", "dib create a.tar b2.tar out.dib"),
    ("create a.tar b.tar", 2, "wanted BASE TARGET OUT", "dib create a.tar b.tar update.dib"),
    (
        "create b.tar update.dib",
        2,
        "wanted BASE TARGET OUT",
        "the base too: dib create OLD.tar b.tar update.dib; for a",
    ),
    ("create b.tar out.dib", 2, "wanted BASE TARGET OUT", "the base too: dib create OLD.tar b.tar out.dib; for a"),
    (
        "create b.tar update",
        2,
        "wanted BASE TARGET OUT",
        "give the base too: dib create OLD.tar b.tar update; for a",
    ),
    (
        "create docker-daemon:x new.dib",
        2,
        "wanted BASE TARGET OUT",
        "OLD.tar docker-daemon:x new.dib; for a",
    ),
    ("create docker-daemon:x oci:y", 2, "wanted BASE TARGET OUT", "dib create docker-daemon:x oci:y update.dib"),
    ("create a.tar b.tar other.tar", 2, "other.tar already exists", "choose another file"),
    ("create a.tar b.tar a.tar", 2, "both input", "choose another output file"),
    ("create a.tar b.tar folder", 3, "it is a directory", "give the name of a file in this folder"),
    ("create folder b.tar o.dib", 4, "folder is a directory", "give an image archive"),
    ("create nginx:1.25 nginx:1.26 o.dib", 3, "cannot open nginx:1.25", "give docker-daemon:nginx:1.25"),
    ("diff registry.example/team/app:1 b.tar", 3, "cannot open", "give docker-daemon:registry.example/team/app:1"),
    ("apply docker:app:1 out.dib", 3, "cannot open docker:app:1", "give docker-daemon:app:1"),
    ("load --engine podman app:1 out.dib", 3, "cannot open app:1", "give containers-storage:app:1"),
    ("load --engine ctr app:1 out.dib", 3, "cannot open app:1", "ctr images export image.tar app:1"),
    ("load --check a.tar out.dib", 2, "no such option", "dib apply --check OLD.tar UPDATE.dib"),
    ("load --engine docker a.tar", 2, "no bundle", "docker load -i a.tar"),
    ("load --engine podman a.tar", 2, "no bundle", "podman load -i a.tar"),
    ("load --engine ctr a.tar", 2, "no bundle", "ctr images import a.tar"),
    ("push a.tar docker://registry.example/app:1", 2, "no bundle", "push registry.example/app:1"),
    ("create --no-base a.tar b.tar o.dib", 2, "wanted TARGET OUT", "dib create --no-base a.tar b.tar -o o.dib"),
    ("create --base a.tar a.tar b.tar o.dib", 2, "wanted TARGET OUT", "dib create --base a.tar a.tar b.tar -o o.dib"),
    ("-q create a.tar b.tar o.dib", 2, "option -q is not valid before the command", "dib create -q a.tar b.tar o.dib"),
    ("--progress json diff a.tar", 2, "option --progress is not valid before", "dib diff --progress json a.tar"),
    ("--nothing", 2, "no such option '--nothing'", "dib --help"),
    ("create -12 a.tar b.tar o.dib", 2, "two levels given: 1 and 2", "choose one: -1 (fast) to -9 (small)"),
    (
        "merge a.tar out.dib -1 --level 9 -o o.dib",
        2,
        "two levels given: 1 and 9",
        "choose one: -1 (fast) to -9 (small)",
    ),
    ("merge a.tar out.dib -10 -o o.dib", 2, "no such option", "dib merge --help"),
    ("create a.tar", 2, "1 argument given,", "dib create OLD.tar NEW.tar OUT.dib"),
    ("create exported.tar b.tar o.dib", 4, "exported.tar is not an image archive", "docker save"),
    ("create a.tar half.tar o.dib", 4, "half.tar is truncated", "again"),
    ("create empty.tar b.tar o.dib", 4, "empty.tar is empty", "docker save"),
    ("create a.zip b.tar o.dib", 4, "a.zip is a zip file", "extract it"),
    ("create a.tar b.tar o.dib --levle 9", 2, "no such option", "dib create --help"),
    ("inspect out.dib --op add --path 'zzz*'", 2, "--op needs --list or --tree", "add --list"),
    ("inspect out.dib --layers --path 'zzz*'", 2, "--path needs", "replace --layers with --list"),
    ("inspect out.dib --tree --sort size", 2, "--sort needs --list", "replace --tree with --list"),
    ("inspect out.dib --list --depth 2", 2, "--depth needs --tree", "replace --list with --tree"),
    ("diff a.tar b.tar --op add", 2, "--op needs --list or --tree", "add --list"),
    ("inspect out.dib --list --op time", 2, "'time' is not one of 'keep', 'mode', 'patch'", "dib inspect --help"),
    ("diff a.tar b.tar --list --op keep", 2, "'keep' is not one of 'mode', 'time', 'patch'", "dib diff --help"),
    ("create a.tar b.tar o.dib --level 10", 2, "not in the range", "dib create --help"),
    ("create a.tar b.tar o.dib --split 10", 2, "at least 65,536 bytes", "--split 3900M"),
    ("create a.tar b.tar o.dib --split much", 2, "much is not a valid size", "20M (MiB)"),
    ("apply a.tar out.dib --max-size 1.5G", 2, "1.5G is not a valid size", "20M (MiB)"),
    ("create a.tar b.tar - --split 64K", 2, "--split writes several files", "give a file name"),
    ("create a.tar b.tar /dev/stdout --split 64K", 2, "--split writes several files", "update.dib.001"),
    ("create a.tar absent/b.tar o.dib", 3, "cannot open absent/b.tar", "ls -l absent"),
    ("create a.tar b.tar absent/o.dib", 3, "cannot write absent/o.dib", "mkdir -p absent"),
    ("create https://example.com/a.tar b.tar o.dib", 3, "cannot open https:", "curl -fLO https://example.com/a.tar"),
    ("apply out.dib", 6, "needs a base: example.com/app:1", "docker save -o base.tar example.com/app:1"),
    ("apply other.tar out.dib", 6, "does not contain", "docker save -o base.tar example.com/app:1"),
    ("apply other.tar out.dib", 6, "does not contain", "add the bundle that rebuilds example.com/app:1, or"),
    ("apply b.tar out.dib", 6, "does not contain", "docker save -o base.tar example.com/app:1"),
    ("apply a.tar", 2, "no bundle among the sources", "add the .dib file"),
    ("apply a.tar half.dib -o x", 5, "truncated bundle", "fetch the bundle again"),
    ("apply a.tar head.dib -o x", 5, "truncated bundle", "fetch the bundle again"),
    ("apply a.tar empty.dib -o x", 5, "truncated bundle", "fetch the bundle again"),
    ("apply a.tar page.dib", 4, "page.dib is a web page", "download again"),
    ("apply a.tar damaged.dib -o x", 7, "bundle is damaged", "fetch the bundle again"),
    ("apply a.tar text.dib", 5, "text-mode transfer", "binary mode"),
    ("apply a.tar out.dib.gz", 4, "compressed with gzip", "decompress it"),
    ("apply a.tar notes.txt", 4, "notes.txt is not a tar archive", "docker save"),
    ("apply a.tar Out.dib", 3, "cannot open Out.dib", "did you mean out.dib?"),
    ("apply a.tar parts.dib -o x", 3, "cannot open parts.dib", "did you mean parts.dib.001?"),
    ("apply a.tar gone.dib.001 -o x", 3, "cannot open gone.dib.001", "ls -l"),
    ("apply a.tar out.dib -o a.tar", 2, "both input", "choose another output file"),
    ("apply a.tar out.dib -o absent/x.tar", 3, "cannot write absent/x.tar", "mkdir -p absent"),
    ("apply a.tar out.dib --format docker", 2, "unknown format docker", "docker-archive"),
    ("apply a.tar out.dib --target app:9", 2, "no targets match app:9", "sha256:"),
    ("inspect a.tar", 2, "no bundle among", "dib diff a.tar NEW.tar"),
    ("create a.tar b.tar docker://registry.example/app:1-2", 2, "to a file", "dib push update.dib docker://"),
    ("verify out.dib a.tar", 2, "2 arguments given, wanted BUNDLE", "dib verify BUNDLE --base OLD.tar"),
    ("verify out.dib half.dib", 2, "2 arguments given, wanted BUNDLE or its parts", "verify them one at a time"),
    *(
        (f"{command} a.tar", 2, "no bundle", "give the .dib file in place of a.tar")
        for command in (
            *("verify", "verify --base b.tar", "report -o r.html", "sign --key KEY"),
            "wrap --unlinked --tag app:1 -o w.tar",
        )
    ),
    *(
        (f"{command} notes.txt", 5, "notes.txt is not a bundle: it begins with 'hello\\x0a'", "head -c 64 notes.txt")
        for command in (
            "verify",
            "inspect",
            "report -o r.html",
            "sign --key KEY",
            "wrap --unlinked --tag app:1 -o w.tar",
        )
    ),
    ("push notes.txt docker://registry.example/app:1-2", 5, "notes.txt is not a bundle", "create one with dib create"),
    (
        "apply a.tar elf.dib",
        5,
        r"elf.dib is not a bundle: it begins with '\x7fELF\x02\x01\x01\x00'",
        "head -c 64 elf.dib",
    ),
    ("apply a.tar zeros.dib", 5, r"zeros.dib is not a bundle: it begins with '\x00\x00", "head -c 64 zeros.dib"),
    ("verify zeros.dib", 5, r"zeros.dib is not a bundle: it begins with '\x00\x00", "head -c 64 zeros.dib"),
    ("apply a.tar out.dib head.dib", 5, "head.dib: truncated bundle", "fetch the bundle again"),
    ("verify out.dib --base other.tar", 6, "does not contain", "docker save"),
    ("diff a.tar out.dib", 2, "out.dib is a bundle", "rebuild the image archive first: dib apply OLD.tar"),
    ("merge a.tar out.dib -o m.dib", 2, "1 bundle given", "dib merge"),
    ("sign out.dib", 2, "--key", "dib sign --key ~/.ssh/id_ed25519 out.dib"),
    (
        "sign --key KEY docker://registry.example/app:1-2",
        *(2, "in a registry", "dib pull docker://registry.example/app:1-2 -o update.dib && dib sign --key KEY"),
    ),
    (
        "sign --key KEY --detach docker://registry.example/app:1-2",
        *(
            2,
            "in a registry, so its detached signature",
            "dib sign --key KEY --detach docker://registry.example/app:1-2 -o update.dib.sig",
        ),
    ),
    ("sign --key KEY wrapped.tar", 2, "a wrapped bundle", "dib unwrap wrapped.tar -o update.dib"),
    ("push out.dib registry.example/app:1", 2, "not a reference in a registry", "docker://"),
    ("load --engine podman other.tar out.dib", 6, "does not contain", "podman save -o base.tar example.com/app:1"),
    ("load --engine=ctr out.dib", 6, "needs a base", "ctr images export base.tar example.com/app:1"),
    ("apply containers-storage:x notes.txt", 4, "notes.txt is not a tar archive", "podman save -o FILE IMAGE"),
    ("creat a.tar b.tar o.dib", 2, "no such command 'creat'", "dib create --help"),
    ("patch a.tar out.dib", 2, "no such command 'patch'", "dib apply --help"),
]


@pytest.mark.parametrize(("command", "code", "told", "hint"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake(work: Path, command: str, code: int, told: str, hint: str) -> None:
    before = sorted(work.iterdir())
    ended = dib(*shlex.split(command), cwd=work)
    lines = ended.err.splitlines()
    assert ended.code == code, ended.err
    assert len(lines) <= 2
    assert lines[0].startswith("dib: error: ")
    assert told.lower() in lines[0].lower()
    assert lines[1].startswith("dib: hint: ")
    assert hint in lines[1]
    assert ended.out == b""
    assert sorted(work.iterdir()) == before


@pytest.mark.parametrize(
    "command", ["create a.tar b.tar -", "create --no-base b.tar /dev/stdout", "create a.tar b.tar -o -"]
)
def test_data_and_a_document_cannot_both_go_to_stdout(work: Path, command: str) -> None:
    ended = dib(*shlex.split(command), "--json", cwd=work)
    told = json.loads(ended.out)
    assert (ended.code, told["message"]) == (2, "--json and the output cannot both go to stdout")
    assert told["hint"] == f"name a file in place of {shlex.split(command)[-1]}"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("create a.tar b.tar", "name the bundle to write: python3 dib.pyz create a.tar b.tar update.dib"),
        ("load --check a.tar out.dib", "python3 dib.pyz apply --check OLD.tar UPDATE.dib"),
        ("--nothing", "python3 dib.pyz --help"),
        ("creat", "python3 dib.pyz create --help"),
        ("diff out.dib b.tar", "rebuild the image archive first: python3 dib.pyz apply OLD.tar out.dib -o new.tar"),
        (
            "sign --key KEY docker://registry.example/app:1-2",
            "python3 dib.pyz pull docker://registry.example/app:1-2 -o update.dib && python3 dib.pyz sign --key KEY",
        ),
        ("verify zeros.dib", "create one with python3 dib.pyz create"),
    ],
)
def test_hints_begin_with_what_was_run(work: Path, command: str, hint: str) -> None:
    code = "from dibundle.cli.main import run; run('python3 dib.pyz')"
    run = [sys.executable, "-c", code, *shlex.split(command)]
    told = subprocess.run(run, capture_output=True, text=True, check=False, cwd=work).stderr
    assert hint in told.partition("dib: hint: ")[2]


def test_json_before_the_command_is_told_where_it_goes(work: Path) -> None:
    ended = dib("--json", "inspect", "out.dib", cwd=work)
    told = json.loads(ended.out)
    assert (ended.code, told["message"]) == (2, "option --json is not valid before the command")
    assert told["hint"] == "dib inspect --json out.dib"


@pytest.mark.parametrize("installed", ["docker", "podman", None])
def test_a_hint_is_at_the_engine_that_is_installed(installed: str | None, work: Path, tmp_path: Path) -> None:
    if installed:
        (tmp_path / installed).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / installed).chmod(0o755)
    ended = dib("apply", "out.dib", cwd=work, env={"PATH": str(tmp_path)})
    assert ended.code == 6
    assert f'"{installed or "docker"} save -o base.tar example.com/app:1"' in ended.err
    ended = dib("apply", "out.dib", "--json", "-o", tmp_path / "o", cwd=work, env={"PATH": str(tmp_path)})
    assert f"{installed or 'docker'} save" in json.loads(ended.out)["hint"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage: Callable[[object], object] = lambda path: shutil._ntuple_diskusage(100, 99, 1)  # type: ignore[attr-defined] # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(FileError, match="needs 1,000 bytes, but the disk has 1 byte free"):
        Destination(str(tmp_path / "o")).check_room(1000)
    assert not list(tmp_path.iterdir())


def test_the_completion_of_bash(tmp_path: Path) -> None:
    script = succeed("completion", "bash").out.decode()
    program = tmp_path / "dib"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(DIB)} "$@"\n')
    program.chmod(0o755)
    for typed, wanted in (
        ("dib ins", "inspect"),
        ("dib create --dry", "--dry-run"),
        ("dib completion z", "zsh"),
        ("dib apply --format do", "docker-archive"),
        ("dib load --engine po", "podman"),
    ):
        words = typed.split()
        asked = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _dib_completion dib"
        told = subprocess.run(
            ["bash", "-c", f"{script}\n{asked}; echo ${{COMPREPLY[@]}}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )
        assert wanted in told.stdout.split(), told.stderr
    for shell in ("zsh", "fish"):
        assert "_DIB_COMPLETE" in succeed("completion", shell).out.decode()


def test_every_command_has_a_manual_page() -> None:
    made = man.pages()
    builds = {"dib-dockerfile-create.1", "dib-dockerfile-apply.1"}
    assert made.keys() == {"dib.1", *(f"dib-{name}.1" for name in _COMMANDS), *builds}
    assert ".SH OPTIONS" in made["dib-create.1"]


def test_the_doctor() -> None:
    assert "create and apply work" in succeed("doctor").out.decode()
    broken = dib("doctor", "--tmp", "/nowhere")
    assert broken.code == 3
    assert "cannot work" in broken.out.decode()


@pytest.mark.parametrize(
    ("venv", "managed", "pip", "hint"),
    [
        (True, True, True, "{python} -m pip install urllib3"),
        (False, False, True, "{python} -m pip install urllib3"),
        (False, True, True, "{python} -m venv --system-site-packages venv && venv/bin/pip install urllib3"),
        (False, False, False, "{python} -m venv --system-site-packages venv && venv/bin/pip install urllib3"),
    ],
)
def test_a_python_that_refuses_pip_gets_a_hint_at_a_venv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venv: bool, managed: bool, pip: bool, hint: str
) -> None:
    if managed:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("sys.base_prefix", "/elsewhere" if venv else sys.prefix)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if pip else None)
    assert install_hint("urllib3").endswith(hint.format(python=sys.executable))


@pytest.mark.parametrize("content", [b"notes of mine\n", bytes(2048)])
def test_a_bundle_takes_the_place_of_a_bundle_alone(content: bytes, pair: pairs.Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.dib"
    out.write_bytes(content)
    ended = dib("create", pair.base, pair.target, out)
    assert (ended.code, out.read_bytes()) == (2, content)
    assert "already exists and is not a bundle" in ended.err
    assert f"rm -- {out}" in ended.err
    for there in (b"", pair.bundle.read_bytes()):
        out.write_bytes(there)
        succeed("create", pair.base, pair.target, out)
        assert out.read_bytes() == pair.bundle.read_bytes()


def test_sizes_are_exact_where_that_is_asked_for(pair: pairs.Pair) -> None:
    size = pair.target.stat().st_size
    ended = dib("verify", "--base", pair.base, pair.bundle, "--max-size", "1K", "-v", "--json")
    assert ended.code == 5
    assert f"dib: exactly: size {size:,} bytes, max_size 1,024 bytes\n" in ended.err
    assert json.loads(ended.out)["sizes"] == {"size": size, "max_size": 1024}
