"""Hints are commands that the user can paste. The shell reads a hostile name in a hint as a single word. Such a name
cannot control the terminal.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from pathlib import Path

import pytest

from dibundle.errors import save_command
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import Ended, dib, succeed
from tests.sources.server import serve

MARK = "HOSTILE"
NAMES = [  # each run takes a while, so it tests several uses of a name
    "; rm -rf ~ $(id) `id` | sh > /etc/passwd && id",
    "a'b\"c'\"'; id; \"\\",
    "\x1b[31mred\x1b]0;title\x07 \u202egnp.tset a\nb \u0085 *",
    ": dib apply; docker save -o ~; id",
]
QUOTED = re.compile(r"'[^']*'|\"'\"")


def check(ended: Ended, *, failed: bool = True) -> str:
    """Assert that the output can be printed on a terminal, and its hint pasted, without danger. Return the hint."""
    assert not failed or ended.code, ended.err
    for character in ended.err:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf"), ended.err
    hint = ended.err.partition("dib: hint: ")[2].strip()
    assert "\n" not in hint
    safe(hint)
    return hint


def safe(hint: str) -> None:
    assert MARK not in QUOTED.sub("", hint), hint
    if MARK in hint:
        assert any(MARK in word for word in shlex.split(hint)), hint


def archive(path: Path, name: str, seed: int, shared: bytes = b"") -> Path:
    layers = [build_layer([file("a", noise(seed, 5000))])]
    if shared:
        layers.insert(0, build_layer([file("b", shared)]))
    path.write_bytes(docker_save([TestImage(layers, [name])]))
    return path


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return MARK + str(request.param)


def test_names_of_images_in_bundles_and_archives(name: str, tmp_path: Path) -> None:
    shared = noise(9, 20_000)
    old = archive(tmp_path / "old.tar", name, 1, shared)
    new = archive(tmp_path / "new.tar", name + "2", 2, shared)
    other = archive(tmp_path / "other.tar", name, 3)
    last = archive(tmp_path / "last.tar", name + "3", 4, shared)
    first, second = tmp_path / "1.dib", tmp_path / "2.dib"
    succeed("create", "-q", "-1", old, new, first)
    succeed("create", "-q", "-1", new, last, second)
    both = tmp_path / "both.dib"
    succeed("create", "-q", "-1", "--base", old, new, last, "-o", both)
    out = tmp_path / "out.tar"
    for arguments in (
        ["apply", first],
        ["apply", other, first],
        ["apply", other, first, second],
        ["apply", old, second],
        ["apply", "--check", first],
        ["apply", old, both, "-o", out],
        ["apply", old, both, "-o", out, "--target", name],
        ["verify", first, "--base", other],
        ["inspect", first, "--list", "--base", other],
        ["inspect", both, "--list"],
        ["merge", other, first, second, "-o", out],
        ["wrap", first, "--linked", "--base", other, "--tag", "app:1", "-o", out],
        ["load", "--engine", "docker", first],
    ):
        ended = dib(*arguments)
        hint = check(ended)
        if arguments[:2] == ["apply", first]:
            assert "docker save -o base.tar" in hint
    ended = dib("apply", first, "--json")
    safe(str(json.loads(ended.out)["hint"]))
    check(dib("apply", "--thin", old, first, "-o", out), failed=False)  # the notes of a thin apply
    check(dib("diff", old, new), failed=False)


def test_names_of_files(name: str, tmp_path: Path) -> None:
    shared = noise(9, 20_000)
    odd = tmp_path / name.replace("/", "-")
    old = archive(tmp_path / "old.tar", "app:1", 1, shared)
    new = archive(tmp_path / "new.tar", "app:2", 2, shared)
    bundle = Path(f"{odd}.dib")
    succeed("create", "-q", "-1", old, new, bundle)
    odd.write_bytes(b"no archive at all")
    wrapped = Path(f"{odd}.tar")
    succeed("wrap", "-q", "--unlinked", bundle, "--tag", "app:d", "-o", wrapped)
    out = tmp_path / "out.tar"
    part = Path(f"{odd}.parts")
    succeed("create", "-q", "--split", "65536", old, new, part)
    Path(f"{part}.002").write_bytes(b"left over")
    with serve() as registry:
        for arguments in (
            ["apply", odd, "-o", out],
            ["apply", bundle, bundle.with_suffix(".Dib"), "-o", out],
            ["apply", old, f"{part}.001", "-o", out],
            ["create", bundle, new, out],
            ["create", old, new],
            ["create", old, new, f"docker://{registry.host}/{MARK.lower()}:1"],
            ["diff", old, bundle],
            ["inspect", old],
            ["inspect", odd],
            ["verify", odd],
            ["merge", bundle, "-o", out],
            ["sign", bundle],
            ["sign", "--key", odd, bundle],
            ["sign", "--key", odd, wrapped],
            ["sign", "--key", odd, "--detach", f"docker://{registry.host}/app:1"],
            ["push", odd, f"docker://{registry.host}/app:1"],
            ["push", bundle, f"docker://{registry.host}/app"],
            ["push", new, f"docker://{registry.host}/app:1"],
            ["pull", name, "-o", out],
            ["list", name],
            ["list", f"docker://{registry.host}/{name}"],
            ["delete", name],
            ["delete", f"docker://{registry.host}/app:{name}"],
            ["delete", "--orphans", name],
            ["unwrap", odd, "-o", out],
            ["apply", old, bundle, "-o", f"{odd}-folder/out"],
            ["apply", name, bundle],
            ["apply", f"docker:{name}", bundle],
            ["apply", f"docker-daemon:{name}", bundle],
            ["create", "--inventory", odd, new, out],
            ["verify", bundle, "--allowed-signers", odd],
            ["verify", "--signature", bundle, bundle],
            ["load", odd],
            ["load", new],
        ):
            check(dib(*arguments))


def test_a_folder_in_an_archive(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(build_layer([file(f"{name.replace('/', '-')}/manifest.json", b"[]")]))
    check(dib("apply", path, "-o", tmp_path / "out"))


@pytest.mark.parametrize("name", ["-rf", "--help", "-o/etc/passwd", "--config=x y"])
def test_a_name_that_begins_as_an_option_does_is_none(name: str, tmp_path: Path) -> None:
    assert shlex.split(save_command(name).render().strip('"'))[-2:] == ["--", name]
    old, new = archive(tmp_path / "old.tar", name, 1, noise(9, 20_000)), archive(tmp_path / "new.tar", "app:2", 2)
    bundle = tmp_path / "x.dib"
    new.write_bytes(docker_save([TestImage([build_layer([file("b", noise(9, 20_000))])], ["app:2"])]))
    succeed("create", "-q", "-1", old, new, bundle)
    assert "docker save -o base.tar -- " in check(dib("apply", bundle))


def test_a_plain_name_stands_in_double_quotes() -> None:
    assert save_command("app:1").render() == '"docker save -o base.tar app:1"'
