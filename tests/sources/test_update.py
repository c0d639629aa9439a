"""Update selects the best chain of bundles, and writes nothing if a registry fails or lies."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

import dibundle
from dibundle.errors import BaseMismatchError
from dibundle.files import readat
from dibundle.format.header import Header
from dibundle.format.labels import Told
from dibundle.images.archive import open_archive
from dibundle.images.reader import read_images
from dibundle.sharing import fetching, wrapped
from dibundle.sharing import update as module
from dibundle.sharing.messages import UPDATE_NOT_MADE
from dibundle.sharing.ways import cheapest
from dibundle.sources.registry import artifacts, listing
from dibundle.sources.registry.listing import Delta
from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import dib as run
from tests.program import succeed
from tests.sources.conftest import REPOSITORY, Files, Program, blobs, put_image, signer, version
from tests.sources.server import Registry, Request, digest, serve


def name(registry: Registry, tag: str) -> str:
    return f"docker://{registry.host}/{REPOSITORY}:{tag}"


def delta(number: int, size: int, needs: str, makes: str, base: str) -> Delta:
    told = Told(size=size, needs=frozenset((needs.encode(),)), makes=frozenset((makes.encode(),)), ids=frozenset())
    return Delta(manifest=bytes([number]), told=told, bases=frozenset((base.encode(),)))


GRAPH = {
    b"v2": [delta(1, 10, "v1", "v2", "v1")],
    b"v3": [delta(2, 10, "v2", "v3", "v2")],
    b"v4": [delta(3, 10, "v3", "v4", "v3"), delta(4, 15, "v2", "v4", "v2"), delta(5, 26, "v1", "v4", "v1")],
    b"v1": [delta(6, 1, "v4", "v1", "v4")],  # this makes a cycle, from v4 back to v1
}


@pytest.mark.parametrize(
    ("here", "numbers"), [(b"v1", [1, 4]), (b"v2", [4]), (b"v3", [3]), (b"v0", None), (b"v4", [6, 5])]
)
def test_the_cheapest_chain(here, numbers):
    found = cheapest(b"v4", frozenset((here,)), lambda image: GRAPH.get(image, []))
    if here == b"v4":
        assert found is not None
        return
    assert (found and [step.delta.manifest[0] for step in found]) == numbers


def test_a_registry_that_lists_without_end_is_not_followed_without_end():
    asked = []

    def more(image: bytes) -> list[Delta]:
        asked.append(image)
        return [delta(len(asked) % 256, 1, "never", "x", f"{image.decode()}{number}") for number in range(40)]

    assert cheapest(b"t", frozenset(), more) is None
    assert len(asked) <= 64


@pytest.mark.parametrize("api", ["full", "bare", None])
@pytest.mark.parametrize(("old", "steps"), [(1, ["1-2", "2-4"]), (2, ["2-4"]), (3, ["3-4"])])
def test_update_from_every_version(registry, files, dib, tmp_path, api, old, steps):
    registry.referrers_api, registry.bare_referrers = api is not None, api == "bare"
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    for pair in ("1-2", "2-3", "3-4", "2-4"):
        assert dib("push", files.folder / f"{pair}.dib", f"docker://{registry.host}/{REPOSITORY}").code == 0
    registry.asked.clear()
    ended = dib("update", name(registry, "v4"), "--base", files.archive(old), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))
    fetched = [digest((files.folder / f"{step}.dib").read_bytes()) for step in steps]
    asked = [path.rpartition("/")[2] for path in registry.log("GET", "/blobs/")]
    assert asked[1:] == fetched  # the first requested blob is the config, so it is left out here
    assert any("sha256-" in path for path in registry.log("GET", "/manifests/")) is (api is None)


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def podman_with_v1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for podman on the PATH; it has the image v1. Return the folder of its images."""
    stand_in(folder, "podman", f'exec {sys.executable} {Path(__file__).parents[1]}/stand_in.py podman "$@"')
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("MACHINE", str(folder))
    engine = folder / "engine"
    engine.mkdir()
    (engine / "app%3A1").write_bytes(docker_save([version(1)], "v25"))
    return engine


def test_an_image_goes_into_the_engine_that_the_old_one_is_in(stocked, files, dib, tmp_path, monkeypatch):
    stand_in(tmp_path, "docker", f"touch {tmp_path}/asked; exit 1")
    engine = podman_with_v1(tmp_path, monkeypatch)
    for more in ("--dry-run", "-q"):
        ended = dib("update", name(stocked, "v2"), "--base", "containers-storage:app:1", more)
        assert ended.code == 0, ended.err
    assert [path.name for path in engine.iterdir() if path.name.endswith("v2")]
    assert not (tmp_path / "asked").exists()


def test_a_base_in_a_registry_is_noted(stocked, files, dib, tmp_path):
    """dib reports that a base is in a registry, because the plan's size does not include a download of the base."""
    told = "a base in a registry is downloaded first"
    for base, is_told in ((name(stocked, "v1"), True), (files.archive(1), False)):
        ended = dib("update", name(stocked, "v2"), "--base", base, "-o", tmp_path / "out.tar")
        assert ended.code == 0, ended.err
        assert (told in ended.err) is is_told


def test_what_is_absent_is_passed_over(stocked, files, dib, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin", "docker", "echo No such image >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    out = tmp_path / "out.tar"
    absent = ("docker-daemon:app:1", "containers-storage:app:1", tmp_path / "absent.tar")
    update = ("update", name(stocked, "v2"), "-o", out, *(item for have in absent for item in ("--base", have)))
    ended = dib(*update)
    assert ended.code == 0, ended.err
    assert ended.err.count("dib: skipped: ") == len(absent)
    assert "the image itself; written" in ended.err  # update gets the image in full, because no base is present
    assert "give docker-daemon:app:1)" in dib(*update[:4], "--base", "app:1").err
    out.unlink()
    signed = dib(*update, "--allowed-signers", files.archive(1))
    assert (signed.code, "with --base" in signed.err) == (8, True)
    assert not out.exists()
    ended = dib(*update, "--base", files.archive(1))
    assert ended.code == 0, ended.err
    told = [line for line in ended.err.splitlines() if line.startswith("dib: skipped: ")]
    assert len(told) == len(absent)
    assert "docker has no image app:1" in told[0]
    assert "1 bundle;" in ended.err
    assert blobs(out) == blobs(files.archive(2))
    out.unlink()
    (tmp_path / "half.tar").write_bytes(files.archive(1).read_bytes()[:5000])
    # this base exists, but is faulty
    assert dib(*update, "--base", files.archive(1), "--base", tmp_path / "half.tar").code == 4
    assert not out.exists()


def test_a_file_needs_no_engine(stocked, files, dib, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = dib("update", name(stocked, "v2"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    ended = dib("update", name(stocked, "v2"), "--base", files.archive(1))
    assert (ended.code, "no engine found" in ended.err) == (2, True)


@pytest.mark.parametrize("api", [True, False], ids=["api", "no api"])
def test_which_bundle_is_taken_does_not_depend_on_the_order_of_pushes(files, dib, tmp_path, api):
    needs.programs("ssh-keygen")
    # all bundles have the same size and rebuild the same image
    bundles = [tmp_path / f"{number}.dib" for number in range(3)]
    for bundle in bundles:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", bundle.with_suffix(".key")], check=True)
        bundle.write_bytes(files.bundle(1, 2).read_bytes())
        assert dib("sign", "--key", bundle.with_suffix(".key"), bundle).code == 0
    assert len({bundle.stat().st_size for bundle in bundles}) == 1
    taken = set()
    for pushed in (bundles, bundles[::-1], bundles[1:] + bundles[:1]):
        with serve() as registry:
            registry.referrers_api = api
            put_image(registry, files.archive(2), "v2")
            for bundle in pushed:  # each push moves the tag to the new bundle
                assert dib("push", bundle, name(registry, "1-2")).code == 0
            registry.asked.clear()
            ended = dib("update", name(registry, "v2"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
            assert ended.code == 0, ended.err
            taken.add(registry.log("GET", "/blobs/")[-1].rpartition("/")[2])
    assert len(taken) == 1


def test_a_plain_pull_where_nothing_leads(stocked, files, dib, tmp_path):
    (tmp_path / "other.tar").write_bytes(docker_save([TestImage([build_layer([file("x", b"y")])])], "oci"))
    for have in ((), ("--base", tmp_path / "other.tar")):
        ended = dib("update", name(stocked, "v4"), *have, "-o", tmp_path / "out.tar")
        assert ended.code == 0, ended.err
        assert "the image itself" in ended.err
        # the registry's image can be used like any archive
        succeed("create", files.archive(1), tmp_path / "out.tar", tmp_path / "whole.dib")


@pytest.mark.parametrize("index", [False, True], ids=["image", "index"])
def test_a_bundle_takes_no_tag_of_an_image(registry, files, dib, index):
    entry = put_image(registry, files.archive(2), "v2")
    if index:
        kind = "application/vnd.oci.image.index.v1+json"
        described = {"mediaType": registry.manifests[REPOSITORY, entry][0], "digest": entry, "size": 1}
        registry.manifests[REPOSITORY, "v2"] = (kind, json.dumps({"manifests": [described]}).encode())
    before = dict(registry.manifests)
    ended = dib("push", files.bundle(1, 2), name(registry, "v2"))
    assert ended.code == 2
    assert "is an image, so the bundle is not pushed there" in ended.err
    assert registry.manifests == before
    assert not registry.log("POST", "/uploads/")  # no upload was started
    hint = ended.err.splitlines()[1].partition("dib push ")[2]
    assert dib("push", *hint.split()).code == 0
    assert hint.endswith(":delta-v2")
    # a push may move a tag from one bundle to another
    assert dib("push", files.bundle(2, 3), name(registry, "delta-v2")).code == 0


def test_dry_run_says_it_and_fetches_no_blob_but_the_config(stocked, files, dib):
    ended = dib("update", name(stocked, "v4"), "--base", files.archive(1), "--dry-run")
    assert ended.code == 0
    assert len(stocked.log("GET", "/blobs/")) == 1


def passed_over(dib: Program, registry: Registry, files: Files, tmp_path: Path, text: str) -> None:
    """Assert that an update skips a bundle for the reason ``text``, and gets the image in another way."""
    ended = dib("update", name(registry, "v4"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if "dib: skipped" in line]
    assert lines
    assert any(text in line for line in lines), ended.err
    assert f"{len(lines)} skipped" in ended.err
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))


def refused(dib: Program, registry: Registry, files: Files, tmp_path: Path, *texts: str, code: int = 9) -> None:
    """Assert that an update ends with ``code``, prints at least one line, and leaves no file."""
    ended = dib("update", name(registry, "v4"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == code, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("dib: error: ")]
    assert len(lines) == 1
    for text in texts:
        assert text in lines[0]
    assert list(tmp_path.iterdir()) == []


def bundle_of(archive: bytes, folder: Path, *base: Path) -> bytes:
    """Return a bundle of an archive. Leave no file in the folder afterwards."""
    target, bundle = folder / "target.tar", folder / "target.dib"
    target.write_bytes(archive)
    succeed("create", *(base or ("--no-base",)), target, bundle)
    data = bundle.read_bytes()
    target.unlink()
    bundle.unlink()
    return data


def list_bundle(registry: Registry, data: bytes, *, is_alone: bool = True, **more: str) -> str:
    """Add a bundle with these bytes to the list of v4. The bundle's labels say that it needs no base.

    Return the digest of the bundle's manifest.
    """
    registry.blobs[REPOSITORY, digest(data)] = data
    fallback = (REPOSITORY, digest_of(registry, "v4").replace(":", "-"))
    kind, body = registry.manifests[fallback]
    index = json.loads(body)
    first = index["manifests"][0]
    manifest = json.loads(registry.manifests[REPOSITORY, first["digest"]][1]) | more
    manifest["layers"][0].update({"digest": digest(data), "size": len(data)})
    told = first["annotations"] | {"dibundle.size": str(len(data)), "dibundle.needs.layers": ""}
    body = json.dumps(manifest).encode()
    registry.manifests[REPOSITORY, digest(body)] = (manifest["mediaType"], body)
    listed = {**first, "digest": digest(body), "size": len(body), "annotations": told}
    index["manifests"] = [listed] if is_alone else [*index["manifests"], listed]
    registry.manifests[fallback] = (kind, json.dumps(index).encode())
    return digest(body)


def test_a_bundle_with_other_bytes(stocked, files, dib, tmp_path):
    for key, data in stocked.blobs.items():
        if data == files.bundle(2, 4).read_bytes():
            stocked.blobs[key] = data[:-1] + bytes([data[-1] ^ 1])
    passed_over(dib, stocked, files, tmp_path, "a wrong blob")


def test_a_bundle_for_another_subject(stocked, files, dib, tmp_path):
    """The list of referrers of v4 has a bundle that rebuilds v3. The bundle's labels claim v4."""
    fallback = next(key for key in stocked.manifests if key[1].startswith("sha256-") and leads_to(stocked, key, "v4"))
    kind, body = stocked.manifests[fallback]
    index = json.loads(body)
    third = next(key for key in stocked.manifests if key[1].startswith("sha256-") and leads_to(stocked, key, "v3"))
    wrong = json.loads(stocked.manifests[third][1])["manifests"][0]
    for item in index["manifests"]:
        annotations = item["annotations"]
        item.update(wrong)
        item["annotations"] = {**annotations, "dibundle.size": "10"}
    stocked.manifests[fallback] = (kind, json.dumps(index).encode())
    passed_over(dib, stocked, files, tmp_path, "for another image")


def leads_to(registry: Registry, key: tuple[str, str], tag: str) -> bool:
    return key[1].replace("-", ":", 1) == digest(registry.manifests[REPOSITORY, tag][1])


def test_a_bundle_of_another_image_is_refused_by_what_it_makes(stocked, files, dib, tmp_path):
    """If a bundle rebuilds a wrong image, the bundle is refused, even if its metadata is consistent."""
    other = docker_save([TestImage([build_layer([file("evil", b"x")])], ["example.com/app:v4"])], "oci", "gzip")
    list_bundle(stocked, bundle_of(other, tmp_path, files.archive(1)))
    passed_over(dib, stocked, files, tmp_path, "")


@pytest.mark.parametrize("part", ["/manifests/v4", "sha256-", "/blobs/"])
@pytest.mark.parametrize(
    ("how", "text"),
    [
        (lambda request: request.endless(b" " * 65536), "more than "),
        (lambda request: request.fail(500), "status 500"),
        (lambda request: request.fail(403), "refuses access"),
        (lambda request: request.answer(302, b"", {"Location": "file:///etc/passwd"}), "but dib refuses"),
        (lambda request: request.cut(b" " * 1000, 10), ""),
    ],
)
def test_whatever_part_of_the_registry_is_bad(stocked, files, dib, tmp_path, part, how, text):
    stocked.hook = lambda request: part in request.path and how(request)
    if (part, text) == ("sha256-", "more than "):  # any user with permission to push can write the list
        assert unread(dib, stocked, files, tmp_path) == [f"what refers to {digest_of(stocked, 'v4')}"]
    else:
        refused(dib, stocked, files, tmp_path, text)


def digest_of(registry: Registry, tag: str) -> str:
    return digest(registry.manifests[REPOSITORY, tag][1])


def unread(dib: Program, registry: Registry, files: Files, tmp_path: Path) -> list[str]:
    """Assert that an update gets the image. Return the names of the parts that update could not read."""
    ended = dib("update", name(registry, "v4"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))
    end = ", which the registry lists: it cannot be read"
    return [
        line.removeprefix("dib: skipped ").removesuffix(end) for line in ended.err.splitlines() if line.endswith(end)
    ]


OCI = "application/vnd.oci.image.manifest.v1+json"
ODD = {
    "an artifact manifest": ("application/vnd.oci.artifact.manifest.v1+json", b"{}"),
    "no JSON": ("application/vnd.oci.image.index.v1+json", b'{"x":1e999}'),
    "many values": (OCI, b'{"x":[' + b"{}," * 140_000 + b"{}]}"),
    "large": (OCI, b'{"x":"' + b"x" * (5 << 20) + b'"}'),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("whole", [False, True], ids=["one of a list", "the list itself"])
def test_what_cannot_be_read_of_referrers_keeps_nobody_from_bundles(stocked, files, dib, tmp_path, odd, whole):
    kind, body = ODD[odd]
    fallback = (REPOSITORY, digest_of(stocked, "v4").replace(":", "-"))
    if whole:
        stocked.manifests[fallback] = (kind, body)
        assert unread(dib, stocked, files, tmp_path) == [f"what refers to {digest_of(stocked, 'v4')}"]
        return
    stocked.manifests[REPOSITORY, digest(body)] = (kind, body)
    listed, index = stocked.manifests[fallback]
    value = json.loads(index)
    value["manifests"].insert(0, {"mediaType": OCI, "digest": digest(body), "size": len(body)})
    stocked.manifests[fallback] = (listed, json.dumps(value).encode())
    assert unread(dib, stocked, files, tmp_path) == [digest(body)]


def test_damaged_copies_do_not_keep_anybody_from_a_bundle(stocked, files, dib, tmp_path, monkeypatch):
    """The damaged copies have valid headers.

    Therefore, before the fix, update applied four damaged copies, and then tried no other bundle.
    """
    monkeypatch.setattr(fetching, "MAX_APPLIED", 1)
    data = files.bundle(2, 4).read_bytes()
    for number in range(30):
        damaged = data[: -1 - number] + bytes([data[-1 - number] ^ 1]) + data[len(data) - number :]
        list_bundle(stocked, damaged, is_alone=False, number=str(number))
    ended = dib("update", name(stocked, "v4"), "--base", files.archive(2), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    assert ended.err.count("which the registry lists: bundle is damaged") in range(
        2, 31
    )  # bundles are tried in order of digest, so only copies with smaller digests precede the sound bundle
    assert "fetched, 1 bundle and " in ended.err


def test_a_manifest_that_many_entries_name_is_read_once(stocked, files, dib, tmp_path):
    kind, body = stocked.manifests[REPOSITORY, "v1-v2"]
    large = json.dumps(json.loads(body) | {"x": "x" * 900_000}).encode()
    stocked.manifests[REPOSITORY, digest(large)] = (kind, large)
    fallback = (REPOSITORY, digest_of(stocked, "v4").replace(":", "-"))
    listed, index = stocked.manifests[fallback]
    value = json.loads(index)
    value["manifests"] += [{"mediaType": OCI, "digest": digest(large), "size": len(large)}] * 100
    stocked.manifests[fallback] = (listed, json.dumps(value).encode())
    stocked.asked.clear()
    ended = dib("update", name(stocked, "v4"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    # fetched once while the list is read, and once to apply the bundle
    assert len(stocked.log("GET", digest(large))) <= 2
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))


def test_so_many_manifests_are_asked_for_and_no_more(stocked, files, dib, tmp_path, monkeypatch):
    """The number of requested manifests is limited. A limit of bytes is not enough, because requests for absent
    manifests receive hardly any bytes.
    """
    monkeypatch.setattr(listing, "MAX_LOOKUPS", 5)
    fallback = (REPOSITORY, digest_of(stocked, "v4").replace(":", "-"))
    kind, index = stocked.manifests[fallback]
    value = json.loads(index)
    value["manifests"] += [{"mediaType": OCI, "digest": f"sha256:{number:064x}", "size": 9} for number in range(50)]
    stocked.manifests[fallback] = (kind, json.dumps(value).encode())
    stocked.asked.clear()
    ended = dib("update", name(stocked, "v4"), "--base", files.archive(1), "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    assert len(stocked.log("GET", "sha256:00000000")) == 5


def test_no_more_is_fetched_in_vain_than_the_image_has(stocked, files, dib, tmp_path):
    image = sum(layer["size"] for layer in json.loads(stocked.manifests[REPOSITORY, "v4"][1])["layers"])
    large_image = TestImage([build_layer([file("x", noise(9, image // 3))])], [])
    data = bundle_of(docker_save([large_image]), tmp_path)
    for number in range(9):
        damaged = data[: -1 - number] + bytes([data[-1 - number] ^ 1]) + data[len(data) - number :]
        list_bundle(stocked, damaged, is_alone=False, number=str(number))
    stocked.asked.clear()
    found = dibundle.update(name(stocked, "v4"), [], tmp_path / "out.tar")
    assert found.refused < 6
    assert image < found.fetched < 3 * image
    large = dib("update", name(stocked, "v4"), "-o", tmp_path / "out.tar", "--max-size", 2 * image)
    assert (large.code, "at most" in large.err) == (9, True), large.err


def test_a_bundle_that_there_is_no_room_for_is_passed_over(stocked, files, dib, tmp_path, monkeypatch):
    """Update skips a bundle that needs more than the free space, because a bundle may declare any size."""
    monkeypatch.setattr(readat, "room", lambda directory: (str(tmp_path), 2_000_000))
    huge = docker_save([TestImage([build_layer([file("zeros", bytes(4_000_000))])], ["example.com/app:v4"])], "v25")
    list_bundle(stocked, bundle_of(huge, tmp_path, files.archive(1)))
    passed_over(dib, stocked, files, tmp_path, "temporary files need")


def test_a_registry_that_fails_at_random_is_got_through(stocked, files, dib, tmp_path):
    """If a random third of the requests fails, ``update`` gets the right image, or exits with code 9 and writes no
    file.
    """
    right = 0
    for seed in range(20):
        chance = random.Random(seed)

        def hook(request: Request, chance: random.Random = chance) -> object:
            way = chance.randrange(12)
            if way == 0:
                return request.fail(chance.choice((500, 502, 503, 429)))
            if way == 1:
                request.close_connection = True
                return True
            if way == 2 and "/blobs/" in request.path:
                data = stocked.blobs[REPOSITORY, request.path.rpartition("/")[2]]
                return request.headers.get("Range") is None and request.cut(data, len(data) // 2)
            return False

        stocked.hook = hook
        out = tmp_path / f"{seed}.tar"
        ended = dib("update", name(stocked, "v4"), "--base", files.archive(1), "-o", out)
        assert ended.code in (0, 9), ended.err
        assert out.exists() is (ended.code == 0)
        if ended.code == 0:
            assert blobs(out) == blobs(files.archive(4))
            right += 1
    assert right >= 18


def test_names_are_taken_wherever_archives_and_bundles_are(stocked, files, dib, tmp_path):
    out = tmp_path / "out"
    assert dib("apply", files.archive(1), name(stocked, "v1-v2"), "-o", out).code == 0
    assert out.read_bytes() == files.archive(2).read_bytes()
    assert dib("pull", name(stocked, "v1-v2"), "-o", out).code == 0
    assert out.read_bytes() == files.bundle(1, 2).read_bytes()
    assert dib("create", name(stocked, "v1"), name(stocked, "v2"), out).code == 0
    assert dib("apply", files.archive(1), out, "-o", tmp_path / "v2.tar").code == 0
    assert dib("apply", name(stocked, "v1"), name(stocked, "v1-v2"), "-o", out).code == 0
    assert out.read_bytes() == files.archive(2).read_bytes()


def test_a_bundle_in_a_registry_is_signed_beside_it_alone(stocked, files, dib, tmp_path):
    needs.programs("ssh-keygen")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    ended = dib("sign", "--key", key, name(stocked, "v1-v2"))
    assert ended.code == 2
    assert f"dib push update.dib {name(stocked, 'v1-v2')}" in ended.err
    assert dib("sign", "--key", key, name(stocked, "v1-v2"), "--detach", "-o", tmp_path / "sig").code == 0
    (tmp_path / "signers").write_text(f"me {(tmp_path / 'key.pub').read_text()}")
    options = ("--allowed-signers", tmp_path / "signers", "--signature", tmp_path / "sig")
    assert dib("verify", name(stocked, "v1-v2"), *options).code == 0


def test_a_tag_that_is_taken_from_another_bundle_is_told(stocked, files, dib):
    tag = name(stocked, "tag")
    ended = dib("push", files.bundle(1, 2), tag)
    assert (ended.code, "tag: nothing sent, now under this name, refers to" in ended.err) == (0, True)
    first = digest(stocked.manifests[REPOSITORY, "tag"][1])
    assert ": was there already, refers to" in dib("push", files.bundle(1, 2), tag).err
    ended = dib("push", files.bundle(2, 3), tag)
    assert ended.code == 0
    assert f"nothing sent, now under this name, in place of {first}, refers to" in ended.err


def test_push_says_where_other_blobs_are_rebuilt_than_the_registry_has(stocked, files, dib, tmp_path):
    """Push reports if the rebuilt blobs differ from the registry's blobs. A mirror must serve exactly the blobs in a
    manifest, so it cannot use such a bundle.
    """
    (tmp_path / "raw.tar").write_bytes(docker_save([version(2)], "v25"))
    assert dib("create", files.archive(1), tmp_path / "raw.tar", tmp_path / "raw.dib").code == 0
    told = "rebuilds other bytes for 2 of 2 layers than the registry stores"
    for bundle, is_other in ((files.bundle(1, 2), False), (tmp_path / "raw.dib", True)):
        ended = dib("push", bundle, name(stocked, "tag"))
        assert ended.code == 0
        assert (told in ended.err) is is_other
        annotations = json.loads(stocked.manifests[REPOSITORY, "tag"][1])["annotations"]
        layers = {layer["digest"] for layer in json.loads(stocked.manifests[REPOSITORY, "v2"][1])["layers"]}
        assert (layers <= set(annotations.get("dibundle.makes.blobs", "").split())) is not is_other


def test_a_linked_image_sends_no_layer_of_the_base(stocked, files, dib, tmp_path):
    base = ("--linked", "--base", name(stocked, "v1"))
    ended = dib("wrap", files.bundle(1, 2), *base, "--push", name(stocked, "linked"))
    assert ended.code == 0, ended.err
    assert len(stocked.log("POST", "/uploads/")) == 2  # config and bundle
    manifest = json.loads(stocked.manifests[REPOSITORY, "linked"][1])
    assert manifest["layers"][:-1] == json.loads(stocked.manifests[REPOSITORY, "v1"][1])["layers"]
    out = tmp_path / "out"
    assert dib("apply", name(stocked, "linked"), "-o", out).code == 0
    assert out.read_bytes() == files.archive(2).read_bytes()
    stocked.asked.clear()
    assert dib("apply", files.archive(1), name(stocked, "linked"), "-o", out).code == 0
    # only the config and the bundle are fetched, because the base is local
    assert len(stocked.log("GET", "/blobs/")) == 2
    assert dib("pull", name(stocked, "linked"), "-o", out).code == 0
    assert out.read_bytes() == files.bundle(1, 2).read_bytes()


def registry_name(registry: Registry) -> str:
    return f"{registry.host}/{REPOSITORY}"


def test_a_wrapped_bundle_is_applied(stocked, files, dib, tmp_path, monkeypatch):
    """Before the fix, ``update`` loaded the wrapping image itself, and reported success."""
    linked, out = name(stocked, "linked"), tmp_path / "out"
    assert dib("wrap", files.bundle(1, 2), "--linked", "--base", name(stocked, "v1"), "--push", linked).code == 0
    for haves, blobs_fetched in (
        (("--base", files.archive(1)), 2),  # config and bundle
        (("--base", files.archive(3)), 4),  # the config, the bundle, and the layers of the base
        ((), 4),
        (("--base", tmp_path / "absent"), 4),
    ):
        stocked.asked.clear()
        ended = dib("update", linked, *haves, "-o", out)
        assert ended.code == 0, ended.err
        with open_archive(out) as written, open_archive(files.archive(2)) as wanted:
            (made,), (image,) = read_images(written).images, read_images(wanted).images
        assert (made.config_digest, made.diff_ids) == (image.config_digest, image.diff_ids)
        assert made.names == (f"{registry_name(stocked)}:linked",)  # the name must not be from a different registry
        assert "a wrapped bundle; written" in ended.err
        assert len(set(stocked.log("GET", "/blobs/"))) == blobs_fetched
    planned = dib("update", linked, "--base", files.archive(1), "--dry-run", "--json")
    assert json.loads(planned.out)["how"] == "wrapped"
    ended = dib("update", linked, "-o", tmp_path / "other", "--expect", "0" * 64)
    assert (ended.code, (tmp_path / "other").exists()) == (8, False)
    engine = podman_with_v1(tmp_path, monkeypatch)
    stocked.asked.clear()
    dib("load", "containers-storage:app:1", linked)
    assert len(stocked.log("GET", "/blobs/")) == 2  # only the bundle is fetched, because the base is in the engine
    made = docker_save([version(2)], "v25")
    (engine / f"sha256%3A{hashlib.sha256(version(2).config_bytes()).hexdigest()}").write_bytes(made)
    ended = dib("update", linked, "--base", "containers-storage:app:1", "-n")
    assert "in podman already" not in ended.err  # the engine has the image, but under a different name
    (engine / urllib.parse.quote(f"{registry_name(stocked)}:linked", safe="")).write_bytes(made)
    stocked.asked.clear()
    ended = dib("update", linked, "--base", "containers-storage:app:1")
    assert ended.code == 0, ended.err
    assert "in podman already" in ended.err
    assert len(stocked.log("GET", "/blobs/")) == 1  # the config


def test_layers_of_a_parcel_are_decompressed_within_a_ratio(stocked, files, dib, tmp_path):
    """The decompressed size of a wrapped bundle's layers is limited. Anyone with permission to push can choose these
    layers, so the layers may be huge.
    """
    zeros = TestImage([build_layer([file("zeros", bytes(120 << 20))])], ["example.com/app:0"])
    (tmp_path / "base.tar").write_bytes(docker_save([zeros], "oci", "gzip"))
    more = TestImage([*zeros.layers, build_layer([file("x", b"x")])], ["example.com/app:1"])
    (tmp_path / "new.tar").write_bytes(docker_save([more], "v25"))
    succeed("create", "-1", tmp_path / "base.tar", tmp_path / "new.tar", tmp_path / "x.dib")
    parcel = name(stocked, "parcel")
    put_image(stocked, tmp_path / "base.tar", "zeros")
    wrapped_ = dib("wrap", tmp_path / "x.dib", "--linked", "--base", name(stocked, "zeros"), "--push", parcel)
    assert wrapped_.code == 0, wrapped_.err
    codes = [dib(command, parcel, "-o", tmp_path / "out.tar").code for command in ("apply", "update")]
    assert codes[0] == codes[1] != 0


def test_layers_that_labels_do_not_tell_of_count_to_what_may_be_fetched(stocked, files, dib, tmp_path, monkeypatch):
    linked, out = name(stocked, "linked"), tmp_path / "out"
    assert dib("wrap", files.bundle(1, 2), "--linked", "--base", name(stocked, "v1"), "--push", linked).code == 0
    # pretend that no object is missing, as with incomplete labels
    monkeypatch.setattr(wrapped, "missing_objects", lambda *_: [0])
    # the target fits into this limit, but a second fetch of blobs does not
    limit = files.archive(2).stat().st_size + 1000
    stocked.asked.clear()
    update = ("update", linked, "--base", files.archive(1), "-o", out)
    ended = dib(*update, "--max-size", limit)
    assert (ended.code, out.exists()) == (9, False), ended.err
    assert len(stocked.log("GET", "/blobs/")) == 2  # config and bundle
    assert dib(*update).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("push", "{bundle}", "app:1"), 2, "not a reference in a registry"),
        (("push", "{bundle}", "docker://app:1"), 2, "does not name a registry"),
        (("push", "{bundle}", "{host}/empty"), 2, "needs a tag of its own"),
        (("push", "{bundle}", "{host}/example/app:x", "--subject", "v1"), 2, "is not the target image"),
        (("pull", "{host}/example/app:missing", "-o", "{out}"), 9, "has no missing"),
        (("pull", "{host}/example/app:v1", "-o", "{out}"), 2, "/example/app:v1 -o new.tar"),
        (("apply", "{host}/example/app:v1", "{old}"), 2, "/example/app:v1 --base"),
        (("update", "{host}/example/app:missing", "-o", "{out}"), 9, "has no missing"),
        (("update", "app:2", "-o", "{out}"), 2, "not a reference in a registry"),
        (("update", "{host}/example/app:v2", "--expect", "0" * 64, "-o", "{out}"), 8, "not the expected image"),
    ],
)  # fmt: skip
def test_wrong_command_lines(stocked, files, dib, tmp_path, arguments, code, text):
    known = {
        "bundle": files.bundle(1, 2),
        "old": files.archive(1),
        "host": f"docker://{stocked.host}",
        "out": tmp_path / "out",
    }
    ended = dib(*(item.format(**known) for item in arguments))
    assert (ended.code, text in ended.err) == (code, True), ended.err
    assert list(tmp_path.iterdir()) == []


def test_without_urllib3_the_rest_works_and_says_what_is_missing(files, tmp_path):
    (tmp_path / "urllib3.py").write_text("raise ModuleNotFoundError(\"No module named 'urllib3'\", name='urllib3')\n")
    env = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    ended = run("pull", "docker://registry.example/app:1", "-o", tmp_path / "x", env=env)
    assert ended.code == 9, ended.err
    assert "pip install urllib3" in ended.err
    assert run("inspect", files.bundle(1, 2), env=env).code == 0


def test_the_manifest_of_a_bundle(stocked, files):
    kind, body = stocked.manifests[REPOSITORY, "v1-v2"]
    value = json.loads(body)
    assert kind == value["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert value["artifactType"] == artifacts.TYPE
    assert value["subject"]["digest"] == digest(stocked.manifests[REPOSITORY, "v2"][1])
    assert value["annotations"]["dibundle.needs.manifests"] == digest(stocked.manifests[REPOSITORY, "v1"][1])
    assert value["layers"][0]["digest"] == digest(files.bundle(1, 2).read_bytes())


@pytest.mark.parametrize("is_compared", [True, False])
def test_a_signed_bundle_for_something_else_is_passed_over(
    registry, files, dib, tmp_path, monkeypatch, is_compared: bool
):
    """A signed bundle of a wrong image does not keep clients from the right bundle. The bundle of the wrong image is
    smaller, and has false labels.
    """
    if not is_compared:  # without this comparison, the bundle is refused only after it has rebuilt a wrong image
        monkeypatch.setattr(module._Update, "_require_as_listed", lambda *given: None)
    allowed, replayed, signed = signer(tmp_path), tmp_path / "1-1.dib", tmp_path / "2-4.dib"
    assert dib("create", files.archive(1), files.archive(1), replayed).code == 0
    signed.write_bytes(files.bundle(2, 4).read_bytes())
    for bundle in (replayed, signed):
        assert dib("sign", "--key", tmp_path / "key", bundle).code == 0
    assert replayed.stat().st_size < signed.stat().st_size
    for number in (2, 4):
        put_image(registry, files.archive(number), f"v{number}")
    assert dib("push", signed, f"docker://{registry.host}/{REPOSITORY}").code == 0
    list_too(registry, replayed.read_bytes())
    update = ("update", name(registry, "v4"), "--allowed-signers", allowed, "--base", files.archive(2))
    ended = dib(*update, "-o", tmp_path / "out.tar")
    assert ended.code == 0, ended.err
    assert "1 bundle and 1 skipped" in ended.err
    assert ("with wrong metadata" in ended.err) is is_compared
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))
    (tmp_path / "out.tar").unlink()
    registry.blobs.pop((REPOSITORY, digest(signed.read_bytes())))
    ended = dib(*update, "-o", tmp_path / "out.tar")
    assert (ended.code, "no other bundle leads from" in ended.err) == (8, True)
    assert not (tmp_path / "out.tar").exists()


def list_too(registry: Registry, bundle: bytes) -> None:
    """Add a bundle to the list; its labels are copied from the bundle that leads to v4."""
    registry.blobs[REPOSITORY, digest(bundle)] = bundle
    fallback = next(key for key in registry.manifests if key[1].startswith("sha256-") and leads_to(registry, key, "v4"))
    index = json.loads(registry.manifests[fallback][1])
    (first,) = index["manifests"]
    manifest = json.loads(registry.manifests[REPOSITORY, first["digest"]][1])
    manifest["layers"][0].update({"digest": digest(bundle), "size": len(bundle)})
    body = json.dumps(manifest).encode()
    registry.manifests[REPOSITORY, digest(body)] = (manifest["mediaType"], body)
    told = first["annotations"] | {"dibundle.size": str(len(bundle))}
    index["manifests"].append({**first, "digest": digest(body), "size": len(body), "annotations": told})
    registry.manifests[fallback] = (index["mediaType"], json.dumps(index).encode())


def say_signed(registry: Registry) -> None:
    """Change all lists so that they claim a signature for every bundle."""
    for key, (kind, body) in list(registry.manifests.items()):
        value = json.loads(body)
        if "manifests" in value:
            for item in value["manifests"]:
                item.setdefault("annotations", {})["dibundle.signed"] = "true"
            registry.manifests[key] = (kind, json.dumps(value).encode())


def test_bundles_that_nobody_of_them_signed_are_passed_over(registry, files, dib, tmp_path):
    """Clients get the signed bundle, even if a user with permission to push adds a smaller unsigned bundle."""
    allowed = signer(tmp_path)
    signed = tmp_path / "2-4.dib"
    signed.write_bytes(files.bundle(2, 4).read_bytes())
    assert dib("sign", "--key", tmp_path / "key", signed).code == 0
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    for bundle in (files.bundle(1, 2), files.bundle(2, 4), signed):
        assert dib("push", bundle, f"docker://{registry.host}/{REPOSITORY}").code == 0
    update = ("update", name(registry, "v4"), "--allowed-signers", allowed, "-o", tmp_path / "out.tar")
    alone = json.loads(dib(*update, "--base", files.archive(2), "--json").out)
    assert alone["size"] == signed.stat().st_size  # the unsigned bundle is not even fetched
    say_signed(registry)  # with false labels, the unsigned bundle is fetched, too
    assert json.loads(dib(*update, "--base", files.archive(2), "--json").out)["size"] == sum(
        bundle.stat().st_size for bundle in (files.bundle(2, 4), signed)
    )
    ended = dib(*update, "--base", files.archive(2))
    assert ended.code == 0, ended.err
    assert "fetched, 1 bundle and 1 skipped; written" in ended.err
    assert "which the registry lists: the bundle is not signed" in ended.err
    assert "\nsigned by release@example.com (key SHA256:" in ended.err
    assert blobs(tmp_path / "out.tar") == blobs(files.archive(4))
    (tmp_path / "out.tar").unlink()
    ended = dib(*update, "--base", files.archive(1))
    assert ended.code == 8
    assert "no other bundle leads from" in ended.err
    assert not (tmp_path / "out.tar").exists()
    for key, data in list(registry.blobs.items()):  # like an unsigned bundle, data that is not a bundle is skipped
        if data == files.bundle(2, 4).read_bytes():
            registry.blobs[key] = b"junk" * (len(data) // 4) + data[: len(data) % 4]
    assert dib(*update, "--base", files.archive(2)).code == 0
    (tmp_path / "out.tar").unlink()
    give_another_config(registry, "v4", digest(signed.read_bytes()))
    ended = dib(*update, "--base", files.archive(2))
    assert ended.code == 8
    assert "with wrong metadata" in ended.err
    assert "no other bundle leads from" in ended.err
    assert not (tmp_path / "out.tar").exists()


def give_another_config(registry: Registry, tag: str, bundle: str) -> None:
    """Replace a tag's image by an image with the same layers and a new config. List a bundle for the new image."""
    kind, body = registry.manifests[REPOSITORY, tag]
    manifest = json.loads(body)
    config = json.loads(registry.blobs[REPOSITORY, manifest["config"]["digest"]])
    evil = json.dumps({**config, "config": {"Cmd": ["evil"]}}).encode()
    registry.blobs[REPOSITORY, digest(evil)] = evil
    manifest["config"].update({"digest": digest(evil), "size": len(evil)})
    other = json.dumps(manifest).encode()
    for name in (tag, digest(other)):
        registry.manifests[REPOSITORY, name] = (kind, other)
    (artifact,) = (
        json.loads(found)
        for _, found in {**registry.manifests}.values()
        if b'"layers"' in found and bundle.encode() in found
    )
    artifact["subject"].update({"digest": digest(other), "size": len(other)})
    made = json.dumps(artifact).encode()
    registry.manifests[REPOSITORY, digest(made)] = (artifact["mediaType"], made)
    entry = {"mediaType": artifact["mediaType"], "digest": digest(made), "size": len(made)}
    entry |= {"artifactType": artifact.get("artifactType"), "annotations": artifact["annotations"]}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    tagged = digest(other).replace(":", "-")
    registry.manifests[REPOSITORY, tagged] = (str(index["mediaType"]), json.dumps(index).encode())


@pytest.mark.parametrize("is_deleted", [False, True], ids=["blob", "manifest"])
def test_bundles_that_were_deleted_are_passed_over(stocked, files, dib, tmp_path, is_deleted):
    """Deleted bundles are skipped. In docker-registry, the list still has the entries of deleted bundles."""
    if is_deleted:
        for key in [key for key, (_, body) in stocked.manifests.items() if b"application/vnd.dib" in body]:
            if key[1].startswith("sha256:"):
                del stocked.manifests[key]
    else:
        for key in [key for key, data in stocked.blobs.items() if data.startswith(b"\x89DIB") or data[1:4] == b"DIB"]:
            del stocked.blobs[key]
    ended = dib("update", name(stocked, "v4"), "--base", files.archive(1), "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["how"] == "image"
    assert "which the registry lists" in ended.err
    passed_over(dib, stocked, files, tmp_path, "")


def test_an_image_that_the_engine_has_is_not_fetched_again(stocked, files, dib, tmp_path, monkeypatch):
    podman_with_v1(tmp_path, monkeypatch)
    update = ("update", name(stocked, "v2"), "--base", "containers-storage:app:1", "--json")
    assert json.loads(dib(*update).out)["how"] == "bundles"
    asked = len(stocked.log("GET", "/blobs/"))
    for more, schema in (((), "dib.update/1"), (("--dry-run",), "dib.update-plan/1")):
        told = json.loads(dib(*update, *more).out)
        assert (told["how"], told["schema"]) == ("here", schema)
    assert len(stocked.log("GET", "/blobs/")) == asked + 2  # the config is fetched each time


def test_a_body_in_tiny_pieces_is_broken_off(stocked, files, dib, tmp_path):
    """The transfer of a body in tiny pieces is aborted.

    Before the fix, each chunk of one byte took 10 us, so 8 MB took 77 s.
    """
    data = b" " * 300_000

    def chunked(request: Request) -> bool:
        if "/manifests/" not in request.path:
            return False
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        with contextlib.suppress(OSError):
            request.wfile.write(b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n")
        request.close_connection = True
        return True

    stocked.hook = chunked
    ended = dib("pull", name(stocked, "v1-v2"), "-o", tmp_path / "out.dib")
    assert ended.code == 9
    assert "in pieces of less than" in ended.err
    assert list(tmp_path.iterdir()) == []


def makes_nothing(*given):
    raise BaseMismatchError(UPDATE_NOT_MADE, id="")


@pytest.mark.parametrize(("name_of", "most"), [("MAX_REFUSED", 1), ("MAX_APPLIED", 1)])
def test_so_many_bundles_are_passed_over_and_no_more(stocked, files, tmp_path, monkeypatch, name_of, most):
    """The number of skipped bundles is limited.

    Before the fix, for each skipped bundle, dib planned the whole chain again or applied all previous bundles again.
    """
    plans = []
    real = module.plan_way
    monkeypatch.setattr(module, "plan_way", lambda *given, **named: plans.append(named) or real(*given, **named))
    monkeypatch.setattr(fetching, name_of, most)
    monkeypatch.setattr(module, "follow", makes_nothing)
    if name_of == "MAX_REFUSED":
        for key in [key for key, data in stocked.blobs.items() if data[1:4] == b"DIB"]:
            del stocked.blobs[key]
    dibundle.update(name(stocked, "v4"), [files.archive(1)], tmp_path / "out.tar")
    assert [plan["only_image"] for plan in plans] == [False] * most + [True]


def test_the_manifests_of_a_chain_have_a_sum(registry, files, dib, tmp_path, monkeypatch):
    """The total size of the manifests in a chain is limited.

    The registry decides the number of bundles. Before the fix, 219 kB of bundles took 4 GB of memory.
    """
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    chain = [files.folder / f"{pair}.dib" for pair in ("1-2", "2-3", "3-4")]
    for bundle in chain:
        assert dib("push", bundle, f"docker://{registry.host}/{REPOSITORY}").code == 0
    sizes = [Header.decode(bundle.read_bytes()[:64]).size for bundle in chain]
    for most, refused in ((sum(sizes), 0), (sum(sizes) - 1, 1)):
        monkeypatch.setattr(module, "MAX_MANIFEST", most)
        monkeypatch.setattr("dibundle.sources.bundles.MAX_MANIFEST", sum(sizes) + 1)
        found = dibundle.update(name(registry, "v4"), [files.archive(1)], tmp_path / "out.tar")
        assert found.refused == refused
        assert (found.plan.chain is None) is bool(refused)


@pytest.mark.parametrize(("most", "numbers"), [(2, [1, 4]), (1, [5])])
def test_a_chain_has_so_many_bundles(most, numbers, monkeypatch):
    monkeypatch.setattr("dibundle.sharing.ways.MOST_STEPS", most)
    found = cheapest(b"v4", frozenset((b"v1",)), lambda image: GRAPH.get(image, []))
    assert [step.delta.manifest[0] for step in found or ()] == numbers
