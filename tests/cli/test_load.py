"""``dib load``, and the loader that dib runs. In the tests, the loader may fail, or may wrongly report success."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path

import msgpack
import pytest
import zstandard

import dibundle
from dibundle.applying import loading
from dibundle.sources.engines import LoadError, Tail
from dibundle.sources.loader import Loader
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.differential.check import written_for
from tests.pairs import Pair
from tests.program import Ended, dib, succeed


@pytest.mark.parametrize("program", ["docker", "podman", "ctr"])
def test_the_loaders_exit_code(program: str, pair: Pair, tmp_path: Path) -> None:
    ended = _load(program, "cat > /dev/null; echo no room >&2; exit 21", pair, tmp_path)
    assert ended.code == 21
    assert "no room" in ended.err


@pytest.mark.parametrize("program", ["docker", "podman", "ctr"])
def test_a_loader_that_reads_nothing(program: str, pair: Pair, tmp_path: Path) -> None:
    ended = _load(program, "echo no daemon >&2; exit 1", pair, tmp_path)
    assert ended.code == 1
    assert "no daemon" in ended.err


@pytest.mark.parametrize(("podman", "told"), [("exit 0", True), ("exit 1", False)])
def test_podman_is_told_of_where_docker_has_no_daemon(podman: str, told: bool, pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text(f"#!/bin/sh\n{podman}\n")
    (tmp_path / "podman").chmod(0o755)
    ended = _load("docker", "echo Cannot connect to the Docker daemon >&2; exit 1", pair, tmp_path)
    assert ended.code == 1
    assert ("--engine podman" in ended.err) is told


def test_a_docker_that_takes_no_oci_archive(pair: Pair, tmp_path: Path) -> None:
    said = "open /import/blobs/json: no such file or directory"
    ended = _load("docker", f"cat > /dev/null; echo {said} >&2; exit 1", pair, tmp_path)
    assert ended.code == 1
    assert f"docker load failed: {said}\n" in ended.err
    assert (
        "hint: this docker cannot load OCI archives: dib apply --format docker-archive OLD.tar UPDATE.dib | do"
        in ended.err
    )


def test_what_a_loader_said_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho no daemon\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    drain = Tail._drain
    monkeypatch.setattr(Tail, "_drain", lambda tail: (time.sleep(0.2), drain(tail)))
    with Loader("docker") as loader, pytest.raises(LoadError, match="no daemon"):
        loader.write(bytes(1 << 24))


@pytest.mark.parametrize("program", ["docker", "podman", "ctr"])
def test_a_loader_that_loads_nothing_and_says_that_all_is_well(program: str, pair: Pair, tmp_path: Path) -> None:
    ended = _load(program, "cat > /dev/null; exit 0", pair, tmp_path)
    assert ended.code not in (0, 1)
    assert "dib: error:" in ended.err


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_the_base_of_a_thin_archive_is_loaded_from_the_file_that_was_given(
    program: str, pair: Pair, tmp_path: Path
) -> None:
    script = 'test "$2" = ls && echo sha256:00 || echo \'[{"RootFS": {"Layers": ["sha256:00"]}}]\''
    ended = _load(program, script, pair, tmp_path, "--thin")
    assert ended.code == 6
    assert "a thin archive leaves out the layers of example.com/app:1 (sha256:" in ended.err
    assert f"without --thin, or load the base first: {program} load -i {pair.base}" in ended.err
    assert len(ended.err.splitlines()) <= 3


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_an_engine_that_does_not_answer_is_not_said_to_lack_layers(program: str, pair: Pair, tmp_path: Path) -> None:
    ended = _load(program, "echo time=now level=warning >&2; echo cannot connect >&2; exit 1", pair, tmp_path, "--thin")
    assert ended.code == 3
    assert f"dib: error: {program} does not answer: cannot connect\n" in ended.err
    assert f"dib: hint: test the engine: {program} info\n" in ended.err


def test_a_thin_base_is_told_of_before_what_the_engine_lacks(tmp_path: Path) -> None:
    layers = [build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(3)]
    for number in (1, 2, 3):
        image = TestImage(layers[:number], [f"example.com/grown:{number}"])
        (tmp_path / f"{number}.tar").write_bytes(docker_save([image], "v25"))
    for old, new in ((1, 2), (2, 3)):
        succeed("create", tmp_path / f"{old}.tar", tmp_path / f"{new}.tar", tmp_path / f"{old}-{new}.dib")
    succeed("apply", "--thin", tmp_path / "1.tar", tmp_path / "1-2.dib", "-o", tmp_path / "thin.tar")
    stand_in = tmp_path / "docker"
    stand_in.write_text("#!/bin/sh\nexit 0\n")
    stand_in.chmod(0o755)
    sources = (tmp_path / "thin.tar", tmp_path / "2-3.dib")
    ended = dib("load", "--thin", "--engine", "docker", *sources, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 6
    assert f"error: {tmp_path}/thin.tar does not contain the base of this bundle: example.com/grown:2" in ended.err


def test_no_engine_at_all(pair: Pair, tmp_path: Path) -> None:
    ended = dib("load", pair.base, pair.bundle, "--engine", "podman", env={"PATH": str(tmp_path)})
    assert ended.code == 3
    assert "podman" in ended.err


def _load(program: str, script: str, pair: Pair, folder: Path, *options: str) -> Ended:
    """Run ``dib load`` with a stand-in for a loader, which ignores its arguments and runs ``script``."""
    stand_in = folder / program
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    return dib("load", pair.base, pair.bundle, "--engine", program, *options, env={"PATH": path})


def test_a_bundle_that_lies_about_its_image_is_not_loaded(pair: Pair, tmp_path: Path) -> None:
    """If a bundle claims a wrong image ID, the image is not loaded. Users compare the printed ID with an ID that they
    know. So dib must print the right ID.
    """
    data = pair.bundle.read_bytes()
    stored, size = (int.from_bytes(data[at : at + 8], "little") for at in (16, 24))
    at = 72 + int.from_bytes(data[64:68], "little")
    sections = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(data[at : at + stored], size))
    about = next(section for section in sections if section[0] == 2)
    with dibundle.open_bundle(pair.bundle) as bundle:
        (image,) = bundle.makes[0].images
    assert image.id in about[1]
    about[1] = about[1].replace(image.id, hashlib.sha256(b"another").digest())
    manifest = msgpack.packb(sections)
    packed = zstandard.ZstdCompressor().compress(manifest)
    head = data[:16] + len(packed).to_bytes(8, "little") + len(manifest).to_bytes(8, "little")
    lie = tmp_path / "lie.dib"
    lie.write_bytes(head + hashlib.sha256(packed).digest() + data[64:at] + packed + data[at + stored :])
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat > {tmp_path}/got\n")
    (tmp_path / "docker").chmod(0o755)
    ended = dib("load", pair.base, lie, "--engine", "docker", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 8
    assert f"but rebuilds sha256:{image.id.hex()}" in ended.err
    with pytest.raises(tarfile.ReadError), tarfile.open(tmp_path / "got") as tar:
        tar.extractfile("manifest.json")


def test_a_lie_is_found_however_many_images_share_a_config(tmp_path: Path) -> None:
    """A wrong image ID is found even if many images share a config.

    Before the fix, each read of the shared config counted towards a limit. Beyond this limit, dib compared no configs.
    """
    config = b'{"author":"' + b"x" * 2_000_000 + b'"}'
    entries = [{"Config": "c", "RepoTags": [] if number else ["app:1"], "Layers": [], "Odd": 1} for number in range(5)]
    archive = build_layer([file("c", config), file("manifest.json", json.dumps(entries).encode())])
    (tmp_path / "lie.dib").write_bytes(written_for(archive, bytes(32)))
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat > {tmp_path}/got\n")
    (tmp_path / "docker").chmod(0o755)
    ended = dib("load", tmp_path / "lie.dib", "--engine", "docker", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 8
    assert f"but rebuilds sha256:{hashlib.sha256(config).hexdigest()}" in ended.err
    assert b"manifest.json" not in (tmp_path / "got").read_bytes()


def test_a_thin_image_without_a_name_cannot_be_asked_for(tmp_path: Path) -> None:
    layers = [build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(2)]
    for number in (1, 2):
        image = TestImage(layers[:number], ["example.com/app:1"] if number == 1 else [])
        (tmp_path / f"{number}.tar").write_bytes(docker_save([image], "v25"))
    succeed("create", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "x.dib")
    diff_id = hashlib.sha256(layers[0]).hexdigest()
    answer = f'sha256:00 ["sha256:{diff_id}"] null'
    (tmp_path / "docker").write_text(f"#!/bin/sh\ntest \"$2\" = ls && echo sha256:00 || echo '{answer}'\n")
    (tmp_path / "docker").chmod(0o755)
    sources = (tmp_path / "1.tar", tmp_path / "x.dib")
    ended = dib("load", "--thin", "--engine", "docker", *sources, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 6
    assert "no name, so docker cannot report" in ended.err


def test_a_child_of_the_engine_that_keeps_its_pipe_is_not_waited_for(pair: Pair, tmp_path: Path) -> None:
    begun = time.monotonic()
    ended = _load("podman", "cat > /dev/null; sleep 60 & echo no space >&2; exit 7", pair, tmp_path)
    assert (ended.code, "no space" in ended.err) == (7, True)
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize("style", ["v25", "oci", "classic"])
def test_large_layers_are_judged_by_their_headers(style: str, tmp_path: Path) -> None:
    """Before the fix, dib checked a copy of the archive that had zeros instead of large layers' headers.

    Therefore, dib refused layers above 8 MiB.
    """
    layers = [
        build_layer([file("data", noise(number, size))]) for number, size in ((1, 9 << 20), (2, 1000), (3, 9 << 20))
    ]
    image = TestImage(layers, ["example.com/app:2"])
    (tmp_path / "1.tar").write_bytes(docker_save([TestImage(layers[:1], ["example.com/app:1"])], style))
    (tmp_path / "2.tar").write_bytes(docker_save([image], style))
    succeed("create", "-1", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "x.dib")
    told = f'{hashlib.sha256(image.config_bytes()).hexdigest()} null "vfs"'
    script = f"#!/bin/sh\ntest $1 = load && exec cat > {tmp_path}/got\necho '{told}'\n"
    (tmp_path / "docker").write_text(script)
    (tmp_path / "docker").chmod(0o755)
    sources = (tmp_path / "1.tar", tmp_path / "x.dib")
    ended = dib("load", "--engine", "docker", *sources, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (ended.code, "engines could find different images" in ended.err) == (0, False), ended.err
    assert (tmp_path / "got").read_bytes() == (tmp_path / "2.tar").read_bytes()


@pytest.mark.parametrize("has_name", [True, False], ids=["layers absent", "no name"])
def test_whether_layers_can_be_left_out_is_known_before_an_engine_saves(has_name: bool, tmp_path: Path) -> None:
    layers = [build_layer([file(f"{number}/data", noise(number, 40_000))]) for number in range(2)]
    for number in (1, 2):
        names = [f"example.com/app:{number}"] if number == 1 or has_name else []
        (tmp_path / f"{number}.tar").write_bytes(docker_save([TestImage(layers[:number], names)], "v25"))
    succeed("create", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "x.dib")
    diff_ids = f'["sha256:{hashlib.sha256(layers[0]).hexdigest()}"]'
    script = f"""#!/bin/sh
echo "$*" >> {tmp_path}/asked
case "$*" in
    *" ls "*) echo sha256:00 ;;
    *Size*) echo 1000000 ;;
    *sha256:00*) echo 'sha256:00 {'["sha256:11"]' if has_name else diff_ids} null' ;;
    *) echo 'sha256:{"1" * 64} {diff_ids} null' ;;
esac
"""
    (tmp_path / "docker").write_text(script)
    (tmp_path / "docker").chmod(0o755)
    sources = ("docker-daemon:example.com/app:1", tmp_path / "x.dib")
    ended = dib("load", "--thin", *sources, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 6
    assert ("docker does not have these layers" if has_name else "no name, so docker cannot report") in ended.err
    assert "save" not in (tmp_path / "asked").read_text()


ODD = {
    "no UTF-8": "printf '\\377'",
    "deep": "head -c 200000 /dev/zero | tr '\\0' '['",
    "a number": "echo 1",
    "other layers": """printf '%s\\n' '1 [1] null' '2 3 4' '5 null' '' '6 {} "vfs"'""",
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
@pytest.mark.parametrize("options", [[], ["--thin"]], ids=["whole", "thin"])
def test_odd_answers_of_an_engine_are_none(answer: str, options: list[str], pair: Pair, tmp_path: Path) -> None:
    ended = _load(
        "docker",
        f'test "$2" = ls && echo id && exit; test "$1" = load && cat > /dev/null; {answer}',
        pair,
        tmp_path,
        *options,
    )
    assert ended.code in (3, 6)
    assert "internal error" not in ended.err


def test_an_engine_that_says_much_as_it_saves(pair: Pair, tmp_path: Path) -> None:
    """Before the fix, the engine's messages filled a pipe. Then dib and the engine waited for each other forever."""
    said = "head -c 300000 /dev/zero | tr '\\0' x >&2"
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\ntest "$1" = save || exec echo {"9" * 6000}\n{said}\ncat {pair.base}\n'
    )
    (tmp_path / "docker").chmod(0o755)
    ended = dib("apply", "docker-daemon:app:1", pair.bundle, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (ended.code, ended.out) == (0, pair.target.read_bytes())


@pytest.mark.parametrize("names", [["app:2"], ["app:2", "app:latest"]], ids=["one name", "two names"])
@pytest.mark.parametrize("option", ["--expect", "--target"])
def test_what_is_named_by_its_digest_and_can_be_read_in_two_ways_is_not_loaded_thin(
    option: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a target is named by digest and programs may read it differently, dib does not load it thin.

    A thin archive would have another digest. A thin archive would also lack images that some programs find in the
    target.
    """
    base = build_layer([file("a", noise(1, 90_000))])
    images = [TestImage([base, build_layer([file("b", text)])], names) for text in (b"one", b"other")]
    entries = []
    members = {}
    for image in images:
        with tarfile.open(fileobj=io.BytesIO(docker_save([image], "classic"))) as tar:
            found = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]
        entries.append(json.loads(found.pop("manifest.json"))[0])
        members |= found
    (entry, other) = entries
    both = {**entry, "config": other["Config"], "layers": other["Layers"]}
    members["manifest.json"] = json.dumps([both]).encode()
    old, new, bundle = (tmp_path / name for name in ("old.tar", "new.tar", "b.dib"))
    old.write_bytes(docker_save([TestImage([base], ["app:1"])], "classic"))
    new.write_bytes(build_layer([file(name, data) for name, data in members.items()]))
    succeed("create", "-q", old, new, bundle)
    (tmp_path / "docker").write_text(f"#!/bin/sh\ntest $1 = load && exec cat > {tmp_path}/got\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(loading, "require_layers", lambda *_: None)
    whole = f"sha256:{hashlib.sha256(new.read_bytes()).hexdigest()}"
    ended = dib("load", "-q", "--engine", "docker", "--thin", option, whole, old, bundle)
    assert ended.code == 8
    assert "cannot determine which image the bundle rebuilds" in ended.err
    assert not (tmp_path / "got").exists() or b"manifest.json" not in (tmp_path / "got").read_bytes()
