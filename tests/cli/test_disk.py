"""Limits on the temporary files that dib writes for its sources. The tests also check when dib writes these files."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
from pathlib import Path

import pytest
import zstandard

import dibundle
from dibundle.cli.main import main
from dibundle.errors import BundleError, DibError, FileError, SignatureError
from dibundle.files import readat
from dibundle.files.compression import RATIO, RATIO_FLOOR
from dibundle.files.destination import Destination
from dibundle.files.readat import Spool
from dibundle.format.signing import Signers
from dibundle.sources.access import Access
from tests import needs, pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.cli.test_signing import WHO, keygen
from tests.content import noise
from tests.program import dib, succeed
from tests.test_wrap import lying

BIG = 64 << 20  # size of the zeros, or of the content after an honest header
PACK = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bzip2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, preset=1),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
}


class Disk:
    """The sizes of temporary files: the bytes written in total, and the maximum at one time."""

    def __init__(self) -> None:
        self.written = self.most = 0

    def note(self, count: int, directory: str) -> None:
        self.written += count
        self.most = max(self.most, readat.taken(directory))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, write, write_at = Disk(), Spool.write, Spool.write_at

    def noted(self: Spool, data: bytes) -> int:
        place = write(self, data)
        disk.note(len(data), self.directory)
        return place

    def noted_at(self: Spool, offset: int, data: bytes, added: int) -> None:
        write_at(self, offset, data, added)
        disk.note(added, self.directory)

    monkeypatch.setattr(Spool, "write", noted)
    monkeypatch.setattr(Spool, "write_at", noted_at)
    return disk


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[pairs.Pair, Path]:
    """A pair with a signed bundle, and a file of signers."""
    needs.programs("ssh-keygen")
    folder = tmp_path_factory.mktemp("disk")
    pair = pairs.make(folder, megabytes=1)
    keygen("-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    succeed("sign", "-q", "--key", folder / "key", pair.bundle)
    allowed = folder / "allowed"
    allowed.write_text(f"{WHO} {(folder / 'key.pub').read_text()}")
    return pair, allowed


def run(*arguments: object) -> None:
    main.main([str(item) for item in arguments], standalone_mode=False)


def zeros_in_an_archive() -> bytes:
    return docker_save([TestImage([build_layer([file("zeros", bytes(BIG))])], ["app:1"])])


def trusting(allowed: Path) -> Access:
    return Access(signers=Signers(allowed=str(allowed)))


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("content", ["zeros", "an archive", "a bundle"])
@pytest.mark.parametrize("name", ["update.dib", "update.tar"])
@pytest.mark.slow
def test_nothing_is_unpacked_far_before_a_signature(kind, content, name, signed, tmp_path: Path, disk: Disk) -> None:
    pair, allowed = signed
    data = {
        "zeros": lambda: bytes(BIG),
        "an archive": zeros_in_an_archive,
        "a bundle": lambda: pair.bundle.read_bytes() + bytes(BIG),
    }[content]()
    bomb = tmp_path / name
    bomb.write_bytes(PACK[kind](data))
    for command in (
        ["apply", bomb, "-o", tmp_path / "out", "--max-size", 1_000_000],
        ["apply", pair.base, bomb, "-o", tmp_path / "out"],
        ["verify", bomb],
        ["inspect", bomb],
        ["unwrap", bomb, "-o", tmp_path / "out"],
        ["report", bomb, "-o", tmp_path / "out"],
    ):
        with pytest.raises(DibError):
            run(*command, "--allowed-signers", allowed, "--require-signature", "--tmp", tmp_path)
        assert not (tmp_path / "out").exists()
    with pytest.raises(DibError):
        list(dibundle.apply([bomb], access=trusting(allowed), tmp=str(tmp_path)))
    base = pair.base.stat().st_size
    assert disk.most <= RATIO * bomb.stat().st_size + RATIO_FLOOR + base


def test_a_signed_candidate_is_no_reason_to_unpack_what_may_hold_the_bundle(signed, tmp_path: Path, disk: Disk) -> None:
    pair, allowed = signed
    bomb = tmp_path / "update.tar"
    bomb.write_bytes(gzip.compress(zeros_in_an_archive()))
    command = ("apply", bomb, "--base", pair.bundle, "--base", pair.base, "-o", tmp_path / "out")
    with pytest.raises(DibError):
        run(*command, "--allowed-signers", allowed, "--require-signature", "--tmp", tmp_path)
    assert disk.most <= RATIO * bomb.stat().st_size + RATIO_FLOOR


def test_an_unsigned_bundle_is_refused_before_a_base_is_unpacked(signed, tmp_path: Path, disk: Disk) -> None:
    pair, allowed = signed
    base = tmp_path / "base.tar.gz"
    base.write_bytes(gzip.compress(zeros_in_an_archive()))
    with pytest.raises(SignatureError):
        run("apply", base, pair.vcdiff, "-o", tmp_path / "out", "--allowed-signers", allowed, "--tmp", tmp_path)
    with pytest.raises(SignatureError):
        list(dibundle.apply([base, pair.vcdiff], access=trusting(allowed), tmp=str(tmp_path)))
    assert disk.written == 0


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.slow
def test_a_base_of_zeros_is_taken_once_the_bundle_is(kind, signed, tmp_path: Path) -> None:
    """Once the bundle is verified, a base of zeros is accepted. Before the bundle is verified, even an honest layer of
    zeros exceeds the allowed ratio of sizes.
    """
    _, allowed = signed
    old, new, bundle = tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "update.dib"
    for path, text in ((old, b"1"), (new, b"2")):
        layers = [build_layer([file("zeros", bytes(BIG))]), build_layer([file("version", text)])]
        path.write_bytes(docker_save([TestImage(layers, ["app:1"])]))
    packed = tmp_path / "old.tar.packed"
    packed.write_bytes(PACK[kind](old.read_bytes()))
    succeed("create", "-1", "-q", old, new, bundle)
    succeed("sign", "-q", "--key", allowed.parent / "key", bundle)
    out = tmp_path / "out"
    succeed("apply", packed, bundle, "-o", out, "--allowed-signers", allowed)
    assert out.read_bytes() == new.read_bytes()
    assert b"".join(dibundle.apply([packed, bundle], access=trusting(allowed))) == new.read_bytes()
    # dib also finds a compressed wrapped bundle without exceeding the ratio, and then unpacks the base
    succeed("wrap", "-q", "--unlinked", bundle, "--tag", "app:d", "-o", tmp_path / "wrapped.tar")
    wrapped = tmp_path / "wrapped.tar.gz"
    wrapped.write_bytes(gzip.compress((tmp_path / "wrapped.tar").read_bytes()))
    succeed("apply", packed, wrapped, "-o", out, "--allowed-signers", allowed)
    assert out.read_bytes() == new.read_bytes()


@pytest.mark.parametrize("stored", ["gzip", "zstd"])
@pytest.mark.parametrize("told", [None, str(1 << 40)])
def test_the_size_on_a_label_is_not_believed(stored: str, told: str | None, tmp_path: Path, disk: Disk) -> None:
    labels = {"dibundle.bundle": "sha256:" + "0" * 64}
    if told:
        labels |= {"dibundle.size": told, "dibundle.bundle.size": told}
    bomb = tmp_path / "x.tar"
    bomb.write_bytes(lying(labels, build_layer([file("bundle.dib", bytes(BIG))]), stored))
    with pytest.raises(DibError, match="more than 20 times"):
        run("unwrap", bomb, "-o", tmp_path / "out", "--tmp", tmp_path)
    assert disk.most <= RATIO * bomb.stat().st_size + RATIO_FLOOR


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two targets. The small second target builds on a layer of the large first target."""
    folder = tmp_path_factory.mktemp("release")
    shared = build_layer([file("shared", noise(5, 200_000))])
    images = {
        "base": [build_layer([file("a", b"a")])],
        "large": [build_layer([file("large", bytes(4 << 20))]), shared],
        "small": [shared],
    }
    for name, layers in images.items():
        (folder / f"{name}.tar").write_bytes(docker_save([TestImage(layers, [f"app:{name}"])]))
    bundle = folder / "release.dib"
    succeed(
        "create", "-q", "-1", "--base", folder / "base.tar", folder / "large.tar", folder / "small.tar", "-o", bundle
    )
    return folder


def test_a_target_on_the_way_is_bounded(release: Path, tmp_path: Path, disk: Disk) -> None:
    sources = [release / "base.tar", release / "release.dib"]
    small = (release / "small.tar").read_bytes()
    assert b"".join(dibundle.apply(sources, target="app:small")) == small
    for command in (["apply"], ["apply", "--check"]):
        out = [] if "--check" in command else ["-o", tmp_path / "out"]
        with pytest.raises(BundleError, match=r"at most 1\.0 MB are allowed"):
            run(*command, *sources, "--target", "app:small", "--max-size", 1_000_000, *out, "--tmp", tmp_path)
    disk.written = 0
    with pytest.raises(BundleError, match=r"at most 1\.0 MB are allowed"):
        list(dibundle.apply(sources, target="app:small", max_size=1_000_000))
    assert disk.written == 0


def test_steps_of_chains_and_merges_are_bounded(tmp_path: Path, disk: Disk) -> None:
    sizes, names = (1, 3 << 20, 2), []
    archives = []
    for number, size in enumerate(sizes):
        archives.append(tmp_path / f"{number}.tar")
        layers = [build_layer([file("a", noise(number, size))]), build_layer([file("b", noise(9, 100_000))])]
        archives[-1].write_bytes(docker_save([TestImage(layers, [f"app:{number}"])]))
    for number in (1, 2):
        names.append(tmp_path / f"{number}.dib")
        succeed("create", "-q", "-1", archives[number - 1], archives[number], names[-1])
    disk.written = 0
    for command in ("apply", "merge"):
        with pytest.raises(BundleError, match=r"at most 1\.0 MB are allowed"):
            run(command, archives[0], *names, "--max-size", 1_000_000, "-o", tmp_path / "out", "--tmp", tmp_path)
    assert disk.written == 0


def test_a_long_chain_takes_twice_the_limit_at_most(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long chain takes at most twice the limit, because dib deletes data that no later step needs."""
    archives, names = [], []
    for number in range(6):
        archives.append(tmp_path / f"{number}.tar")
        layer = build_layer([file("a", noise(number, 300_000)), file("b", noise(9, 700_000))])
        archives[-1].write_bytes(docker_save([TestImage([layer], [f"app:{number}"])]))
    for number in range(1, 6):
        names.append(tmp_path / f"{number}.dib")
        succeed("create", "-q", "-1", archives[number - 1], archives[number], names[-1])
    limit = max(path.stat().st_size for path in archives)
    out = tmp_path / "out"
    run("apply", archives[0], *names, "--max-size", limit, "-o", out, "--tmp", tmp_path)
    assert out.read_bytes() == archives[5].read_bytes()
    assert disk.most <= 2 * limit
    (tmp_path / "docker").write_text(f"#!/bin/sh\nif [ $1 = load ]; then cat > {tmp_path}/loaded; fi\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DibError):
        run("load", archives[0], *names, "--max-size", limit, "--tmp", tmp_path)
    assert (tmp_path / "loaded").read_bytes() == archives[5].read_bytes()
    assert disk.most <= 2 * limit
    with pytest.raises(BundleError, match="at most"):
        run("apply", archives[0], *names, "--max-size", limit - 1, "-o", out, "--tmp", tmp_path)


def test_a_target_that_is_compressed_is_not_unpacked(tmp_path: Path, disk: Disk) -> None:
    """Honest targets are never compressed. If dib unpacked compressed intermediate targets, a hostile bundle could fill
    a disk.
    """
    spool = Spool(str(tmp_path))
    spool.write(PACK["zstd"](bytes(BIG)))
    disk.written = 0
    from dibundle.errors import ArchiveError
    from dibundle.images.archive import open_made

    with pytest.raises(ArchiveError, match="is not a tar archive"):
        open_made(spool, "what a bundle makes")
    assert disk.written == 0
    spool.close()


def test_free_space_is_checked_before_anything_is_unpacked(signed, tmp_path: Path, disk: Disk, monkeypatch) -> None:
    pair, _ = signed
    packed = tmp_path / "old.tar.gz"
    packed.write_bytes(gzip.compress(pair.base.read_bytes()))
    monkeypatch.setattr(readat, "room", lambda directory: (str(tmp_path), 1000))
    with pytest.raises(DibError, match="temporary files need"):
        run("apply", packed, pair.bundle, "-o", tmp_path / "out")
    assert disk.written == 0


@pytest.mark.parametrize("command", ["apply", "load", "verify"])
def test_every_command_that_makes_targets_takes_a_limit(command: str, pair: pairs.Pair, tmp_path: Path) -> None:
    sources = ("--base", pair.base, pair.bundle) if command == "verify" else (pair.base, pair.bundle)
    (tmp_path / "docker").write_text("#!/bin/sh\ntouch asked\ncat > /dev/null\n")
    (tmp_path / "docker").chmod(0o755)
    ended = dib(command, "--max-size", "1000", *sources, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ended.code == 5
    assert "at most 1,000 bytes are allowed" in ended.err


def test_a_layer_is_unpacked_to_what_is_allowed_at_most(tmp_path: Path) -> None:
    """A layer is unpacked at most to the allowed size. In a merge, layers of a chain's images are unpacked to at most
    sixteen times their stored size.
    """
    from dibundle.creating.compose.recompressed import unpack_layer
    from dibundle.files.readat import MemoryBytes, Spool

    stored = gzip.compress(bytes(3_000_000) + noise(5, 600_000), 6, mtime=0)
    for most, is_found in ((None, True), (5_000_000, True), (1_000_000, False), (0, False)):
        spool = Spool(str(tmp_path))
        assert (unpack_layer(MemoryBytes(stored), spool, most) is not None) == is_found
        assert spool.size <= (5_000_000 if most is None else most + (1 << 20))
        spool.close()


def test_a_shortened_digest_names_no_target(pair: pairs.Pair, tmp_path: Path) -> None:
    ended = dib("apply", "--target", "sha256:4d1a854cf1ac", pair.base, pair.bundle, "-o", tmp_path / "out")
    assert ended.code == 2
    assert (
        "sha256:4d1a854cf1ac is not a digest: wanted sha256: and 64 hex digits (a shorter digest can be forged)"
        in ended.err
    )


def test_a_layer_that_came_with_a_bundle_is_decompressed_within_a_ratio(tmp_path: Path, disk: Disk) -> None:
    """If a file contains a bundle, its layers unpack to at most a fixed multiple of the file's size.

    Here, the file is a linked image. After unpacking, the base layer in this image is far larger than the file. The
    user does not name a base.
    """
    shared = build_layer([file("shared", noise(1, 50_000))])
    old, new, wrapped = (tmp_path / f"{name}.tar" for name in ("old", "new", "wrapped"))
    large = build_layer([file("large", noise(2, 1 << 16) * 2048)])
    old.write_bytes(docker_save([TestImage([large], ["app:1"])], "c8d", "zstd"))
    new.write_bytes(docker_save([TestImage([large, shared], ["app:2"])]))
    succeed("create", "-q", "-1", old, new, tmp_path / "x.dib")
    succeed("wrap", "-q", tmp_path / "x.dib", "--linked", "--base", old, "--tag", "app:1-2", "-o", wrapped)
    disk.most = 0
    run("inspect", wrapped, "--tmp", tmp_path)
    with pytest.raises(DibError):
        run("apply", wrapped, "-o", tmp_path / "out", "--tmp", tmp_path)
    assert not (tmp_path / "out").exists()
    assert disk.most <= 16 * wrapped.stat().st_size + (64 << 20)


def test_layers_that_are_compressed_again_count(tmp_path: Path, disk: Disk) -> None:
    """Recompressed layers count towards the limit.

    In the test, the target is small, but it uses a recompressed layer that is larger than the limit.
    """
    layer = build_layer([file("data", noise(1, 300_000))])
    for name, stored in (("plain", None), ("packed", "gzip")):
        (tmp_path / f"{name}.tar").write_bytes(docker_save([TestImage([layer], ["app:1"])], "c8d", stored))
    packed = PACK["gzip"](layer)
    target = tmp_path / "target.tar"
    target.write_bytes(docker_save([TestImage([build_layer([file("part", packed[1000:60_000])])], ["app:2"])]))
    succeed("create", "-q", tmp_path / "packed.tar", target, tmp_path / "x.dib")
    out = ("--max-size", target.stat().st_size, "-o", tmp_path / "out", "--tmp", tmp_path)
    disk.most = 0
    run("apply", tmp_path / "plain.tar", tmp_path / "x.dib", *out)
    assert disk.most <= 2 * target.stat().st_size


def test_merge_decompresses_what_came_with_the_bundles_within_a_ratio(tmp_path: Path, disk: Disk) -> None:
    versions = [tmp_path / f"{number}.tar" for number in range(3)]
    for number, path in enumerate(versions):
        layers = [build_layer([file("shared", noise(1, 50_000))]), build_layer([file("v", noise(number, 9_000))])]
        path.write_bytes(docker_save([TestImage(layers, [f"app:{number}"])]))
    labels = {"config": {"Labels": {"dibundle.bundle": "sha256:" + "0" * 64}}}
    large = build_layer([file("large", noise(2, 1 << 16) * 2048)])
    images = []
    for number in range(2):
        bundle = tmp_path / f"{number}.dib"
        succeed("create", "-q", *versions[number : number + 2], bundle)
        layers = [large] * number + [build_layer([file("bundle.dib", bundle.read_bytes())])]
        images.append(TestImage(layers, [f"delta:{number}"], labels))
    carrier = tmp_path / "carrier.tar"
    carrier.write_bytes(docker_save(images, "c8d", "zstd"))
    disk.most = 0
    run("merge", versions[0], carrier, "-o", tmp_path / "m.dib", "--tmp", tmp_path)
    assert disk.most <= 16 * carrier.stat().st_size + (64 << 20)
    succeed("apply", versions[0], tmp_path / "m.dib", "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == versions[2].read_bytes()


def test_nothing_is_left_where_a_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system refuses to set a mode, no file is left. Some network file systems refuse to set modes."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    (tmp_path / "out").write_bytes(b"before")
    monkeypatch.setattr(os, "fchmod", refused)
    with pytest.raises(FileError, match="Operation not permitted"), Destination(str(tmp_path / "out")):
        pass
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"before")]
