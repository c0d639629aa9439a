"""Required signatures, for every command that reads bundles, every kind of source, and every signer.

Only ``dib sign`` accepts unsigned bundles, because it signs them.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import dibundle
from dibundle.cli.man import every_command
from dibundle.errors import SignatureError
from dibundle.format.signing import Signers
from tests import needs, pairs
from tests.cli.policies import set_policy
from tests.cli.test_signing import WHO, keygen
from tests.program import Ended, dib, succeed
from tests.sources.server import Registry, serve

WAYS = ("file", "parts", "stdin", "wrapped", "compressed", "registry", "wrapped in a registry", "chain")
SIGNED = ("right", "unsigned", "wrong")
HOW = ("options", "environment", "policy")


@dataclass
class World:
    """Bundles by each signer, in every kind of source."""

    folder: Path
    pair: pairs.Pair
    registry: Registry
    allowed: Path

    def path(self, way: str, signed: str) -> Path:
        return self.folder / f"{signed}-{way.replace(' ', '-')}"

    def name(self, way: str, signed: str) -> str:
        """Return a bundle's name, in the form in which a command line names this kind of source."""
        match way:
            case "parts":
                return f"{self.path(way, signed)}.dib.001"
            case "stdin":
                return "-"
            case "wrapped":
                return f"{self.path(way, signed)}.tar"
            case "compressed":
                return f"{self.path(way, signed)}.tar.gz"
            case "registry":
                return f"docker://{self.registry.host}/app:{signed}"
            case "wrapped in a registry":
                return f"docker://{self.registry.host}/app:wrapped-{signed}"
        return f"{self.path('file', signed)}.dib"

    def run(self, arguments: list[object], way: str, signed: str, how: str) -> Ended:
        demanded = ["--allowed-signers", self.allowed, "--require-signature"] if how == "options" else []
        env = {"DIB_ALLOWED_SIGNERS": str(self.allowed), "DIB_REQUIRE_SIGNATURE": "1"} if how == "environment" else {}
        stdin = Path(f"{self.path('file', signed)}.dib").read_bytes() if way == "stdin" else None
        with pytest.MonkeyPatch.context() as patch:
            if how == "policy":
                set_policy(patch, self.folder, f'allowed-signers = "{self.allowed}"\n')
            return dib(arguments[0], *demanded, *arguments[1:], stdin=stdin, env=env, cwd=self.folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needs.programs("ssh-keygen")
    folder = tmp_path_factory.mktemp("trust")
    (folder / "made").mkdir()
    pair = pairs.make(folder / "made", megabytes=1)
    for key in ("right", "wrong"):
        keygen("-q", "-t", "ed25519", "-N", "", "-f", folder / key)
    allowed = folder / "allowed"
    allowed.write_text(f"{WHO} {(folder / 'right.pub').read_text()}")
    allowed.chmod(0o644)
    with serve() as registry:
        made = World(folder, pair, registry, allowed)
        succeed("create", "-q", "-1", pair.target, pair.base, folder / "back.dib")
        for signed in SIGNED:
            bundle = Path(f"{made.path('file', signed)}.dib")
            shutil.copy(pair.bundle, bundle)
            succeed("create", "-q", "--split", "65536", pair.base, pair.target, f"{made.path('parts', signed)}.dib")
            if signed != "unsigned":
                succeed("sign", "-q", "--key", folder / signed, bundle)
                succeed("sign", "-q", "--key", folder / signed, made.name("parts", signed))
            wrapped = f"{made.path('wrapped', signed)}.tar"
            succeed("wrap", "-q", "--unlinked", bundle, "--tag", f"app:{signed}", "-o", wrapped)
            shutil.copy(wrapped, f"{made.path('compressed', signed)}.tar")
            subprocess.run(["gzip", f"{made.path('compressed', signed)}.tar"], check=True)
            succeed("push", "-q", bundle, f"docker://{registry.host}/app:{signed}")
            name = f"docker://{registry.host}/app:wrapped-{signed}"
            succeed("wrap", "-q", "--unlinked", bundle, "--push", name)
        succeed("sign", "-q", "--key", folder / "right", folder / "back.dib")
        yield made


def commands(world: World, way: str, signed: str) -> dict[str, list[object]]:
    """Return the arguments of each command that reads a bundle, by the command's name."""
    bundle, base, out = world.name(way, signed), world.pair.base, world.folder / "out"
    if way == "chain":  # the first bundle of the chain has a valid signature; the tested bundle is the second
        first = [world.pair.target, world.folder / "back.dib", bundle]
        return {
            "apply": ["apply", *first, "-o", out],
            "merge": ["merge", *first, "-o", out],
        }
    found: dict[str, list[object]] = {
        "apply": ["apply", base, bundle, "-o", out],
        "apply --check": ["apply", "--check", base, bundle],
        "apply --format": ["apply", "--format", "oci-archive", base, bundle, "-o", out],
        "verify": ["verify", bundle],
        "verify --base": ["verify", bundle, "--base", base],
        "inspect": ["inspect", bundle],
        "inspect --list": ["inspect", bundle, "--list", "--base", base],
        "report": ["report", bundle, "-o", out],
        "report --base": ["report", bundle, "--base", base, "-o", out],
        "merge": ["merge", world.pair.target, world.folder / "back.dib", bundle, "-o", out],
        "wrap": ["wrap", "--unlinked", bundle, "-o", out],
        "wrap --push": ["wrap", "--unlinked", bundle, "--push", f"docker://{world.registry.host}/other:1"],
        "unwrap": ["unwrap", bundle, "-o", out],
        "push": ["push", bundle, f"docker://{world.registry.host}/other:{signed}"],
    }
    if "wrapped" in way or way == "compressed":
        del found["merge"]  # merge takes bundles as files, and does not search archives for bundles
    if "registry" in way:
        found["pull"] = ["pull", bundle, "-o", out]
    return found


def product() -> list[tuple[str, str, str]]:
    return [
        (way, signed, how)
        for way, signed, how in itertools.product(WAYS, SIGNED, HOW)
        # for most ways, test only options, because all commands read signers with the same code
        if how == "options" or way in ("file", "wrapped", "registry")
    ]


@pytest.mark.parametrize(("way", "signed", "how"), product())
def test_what_is_demanded_holds_in_every_command(world: World, way: str, signed: str, how: str) -> None:
    out = world.folder / "out"
    for name, arguments in commands(world, way, signed).items():
        out.unlink(missing_ok=True)
        uploads = len(world.registry.blobs)
        ended = world.run(arguments, way, signed, how)
        assert ended.code == (0 if signed == "right" else 8), (name, ended.err)
        if signed != "right":
            assert not out.exists(), name
            assert ended.out == b"", name
            assert len(world.registry.blobs) == uploads, name
            assert "sign" in ended.err, name
            shown = world.name(way, signed).removesuffix(".dib.001")
            assert ("stdin" if way == "stdin" else shown) in ended.err.partition("\n")[0], name


@pytest.mark.parametrize("how", ["environment", "policy"])
@pytest.mark.parametrize("way", WAYS)
def test_sign_takes_any_bundle(world: World, way: str, how: str, tmp_path: Path) -> None:
    ended = world.run(
        ["sign", "--key", world.folder / "right", "--detach", world.name(way, "unsigned"), "-o", tmp_path / "sig"],
        way,
        "unsigned",
        how,
    )
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("way", ["file", "wrapped", "registry"])
def test_without_signers_nothing_is_read(world: World, way: str) -> None:
    """If DIB_REQUIRE_SIGNATURE is set and no signers are given, dib reads no bundle."""
    for name, arguments in commands(world, way, "right").items():
        ended = dib(*arguments, env={"DIB_REQUIRE_SIGNATURE": "1"}, cwd=world.folder)
        assert ended.code == 2, name
        assert "a signature is required (DIB_REQUIRE_SIGNATURE is set), but no signers" in ended.err


def test_inspect_tells_who_signed_what_was_checked(world: World) -> None:
    ended = world.run(["inspect", world.name("file", "right")], "file", "right", "options")
    assert f"signed by {WHO} (key SHA256:" in ended.out.decode()
    assert "not checked" not in ended.out.decode()


@pytest.mark.parametrize("how", ["signers", "policy"])
@pytest.mark.parametrize("signed", SIGNED)
@pytest.mark.parametrize("source", ["path", "parts", "stream"])
def test_the_python_api(world: World, signed: str, source: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    access = dibundle.Access(signers=Signers(allowed=str(world.allowed))) if how == "signers" else dibundle.Access()
    if how == "policy":
        set_policy(monkeypatch, world.folder, f'allowed-signers = "{world.allowed}"\n')
    path = Path(world.name("parts" if source == "parts" else "file", signed))

    def operations(bundle: object, base: Path | None) -> object:
        with dibundle.open_bundle(bundle, access=access) as opened:
            return opened.operations(base)

    uses = {
        "apply": lambda bundle: b"".join(dibundle.apply([world.pair.base, bundle], access=access)),
        "operations": lambda bundle: operations(bundle, None),
        "operations with a base": lambda bundle: operations(bundle, world.pair.base),
    }
    for name, use in uses.items():
        with path.open("rb") as stream:
            given = stream if source == "stream" else path
            if signed == "right":
                assert use(given), name
            else:
                with pytest.raises(SignatureError):
                    use(given)


def test_the_documented_table_has_every_command(world: World) -> None:
    leaves = [found for found in every_command() if not isinstance(found.command, click.Group)]
    names = [" ".join(found.command_path.split()[1:]) for found in leaves]
    table = (Path(__file__).parents[2] / "docs" / "explanation" / "trust.md").read_text()
    assert [name for name in names if f"`{name}`" not in table] == []
