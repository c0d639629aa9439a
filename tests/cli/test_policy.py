"""The policy of a machine. Neither options nor environment variables can weaken the policy. If the policy is invalid,
dib refuses everything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import dibundle
from dibundle.cli.main import main
from dibundle.errors import FileError, UsageError
from dibundle.images.archive import open_archive
from dibundle.images.reader import read_images
from dibundle.sources import policy
from tests import needs, pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.cli.policies import set_policy
from tests.cli.test_signing import keygen
from tests.content import text
from tests.program import DIB, Ended, dib, succeed
from tests.sources.conftest import put_image
from tests.sources.server import serve

Write = Callable[..., Path]


class World:
    """The keys "release", "team" and "own".

    The policy trusts the keys "release" and "team". Each bundle is named after its signer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "made").mkdir()
        self.pair = pairs.make(folder / "made", megabytes=1)
        self.public = {}
        for name in ("release", "team", "own"):
            keygen("-q", "-t", "ed25519", "-N", "", "-f", folder / name)
            self.public[name] = (folder / f"{name}.pub").read_text().strip()
            shutil.copy(self.pair.bundle, self.bundle(name))
            succeed("sign", "-q", "--key", folder / name, self.bundle(name))
        shutil.copy(self.pair.bundle, self.bundle("unsigned"))
        self.allowed = self.signers("allowed", "release", "team")
        self.own = self.signers("own-signers", "own")

    def bundle(self, signed: str) -> Path:
        return self.folder / f"{signed}.dib"

    def line(self, name: str, options: str = "") -> str:
        return f"{name}@example.com {options}{self.public[name]}\n"

    def signers(self, file_name: str, *names: str, options: str = "") -> Path:
        path = self.folder / file_name
        path.write_text("".join(self.line(name, options) for name in names))
        path.chmod(0o644)
        return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    needs.programs("ssh-keygen")
    return World(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Write:
    """Set the policy of this machine."""
    return lambda content: set_policy(monkeypatch, tmp_path, content)


def refused(ended: Ended, exit_code: int, *told: str) -> None:
    assert (ended.code, ended.out) == (exit_code, b""), ended.err
    assert [item for item in told if item not in ended.err] == [], ended.err
    assert ended.err.startswith("dib: error: ")


def code_of(*arguments: str | Path, **more: object) -> str:
    return json.loads(dib(*arguments, "--json", **more).out)["code"]  # type: ignore[arg-type]


def test_options_and_environment_only_add(world: World, write: Write, tmp_path: Path) -> None:
    path = write(f'allowed-signers = "{world.allowed}"\nrequire-signature = true\n')
    wider = world.signers("wider", "release", "team", "own")
    old = world.signers("team-alone", "team")
    succeed("verify", world.bundle("release"))
    succeed("verify", world.bundle("release"), "--require-signature")
    succeed("verify", world.bundle("release"), "--identity", "release@example.com")
    succeed("verify", world.bundle("release"), "--allowed-signers", wider)
    by = f"(required by {path})"
    refused(dib("verify", world.bundle("unsigned")), 8, f"{world.bundle('unsigned')}: the bundle is not signed {by}")
    for options, env in (
        (("--allowed-signers", world.own), {}),
        (("--allowed-signers", wider), {}),
        ((), {"DIB_ALLOWED_SIGNERS": str(world.own)}),
        ((), {"DIB_REQUIRE_SIGNATURE": "0", "HOME": str(tmp_path)}),
    ):
        refused(dib("verify", world.bundle("own"), *options, env=env), 8, "has no valid line for the key", by)
    refused(dib("verify", world.bundle("release"), "--allowed-signers", old), 8, "team-alone has no valid line")
    refused(dib("verify", world.bundle("release"), env={"DIB_ALLOWED_SIGNERS": str(old)}), 8, "team-alone has no")
    refused(dib("verify", world.bundle("release"), "--identity", "team@example.com"), 8, "does not belong to team@")
    refused(dib("verify", world.bundle("release"), "--revoked", world.folder / "release.pub"), 8, "is revoked by")
    told = json.loads(succeed("verify", world.bundle("release"), "--json").out)["signed_by"]
    assert [item.partition(" ")[0] for item in told] == ["release@example.com"]


def test_a_detached_signature_needs_no_list_of_ones_own(world: World, write: Write, tmp_path: Path) -> None:
    write(f'allowed-signers = "{world.allowed}"\n')
    succeed("sign", "-q", "--detach", "--key", world.folder / "team", world.bundle("unsigned"), "-o", tmp_path / "s")
    succeed("sign", "-q", "--detach", "--key", world.folder / "own", world.bundle("unsigned"), "-o", tmp_path / "o")
    succeed("verify", world.bundle("unsigned"), "--signature", tmp_path / "s")
    succeed("verify", world.bundle("unsigned"), "--signature", tmp_path / "o", "--signature", tmp_path / "s")
    refused(dib("verify", world.bundle("unsigned"), "--signature", tmp_path / "o"), 8, "has no valid line")


def test_the_time_is_now(world: World, write: Write) -> None:
    expired = world.signers("expired", "release", options='valid-before="20210101" ')
    write(f'allowed-signers = "{expired}"\n')
    for options in ((), ("--verify-time", "20200601"), ("--allowed-signers", world.allowed)):
        ended = dib("verify", world.bundle("release"), *options)
        refused(ended, 8, f"expired on 2021-01-01 00:00:00 ({expired}:1) (required by ", "signed again")
        assert "--verify-time" not in ended.err
    write("")
    ended = dib("verify", world.bundle("release"), "--allowed-signers", expired)
    refused(ended, 8, f"expired on 2021-01-01 00:00:00 ({expired}:1)\n", "--verify-time 202012312359\n")
    succeed("verify", world.bundle("release"), "--allowed-signers", expired, "--verify-time", "202012312359")


def test_revoked_keys_hold_for_every_list(world: World, write: Write) -> None:
    write(f'revoked = "{world.folder}/release.pub"\n')
    succeed("verify", world.bundle("release"))
    refused(dib("verify", world.bundle("release"), "--allowed-signers", world.allowed), 8, "is revoked by", "required")
    succeed("verify", world.bundle("team"), "--allowed-signers", world.allowed)
    write(f'revoked = "{world.folder}/release.pub"\nallowed-signers = "{world.allowed}"\n')
    refused(dib("verify", world.bundle("release")), 8, "is revoked by", "required")
    refused(dib("verify", world.bundle("release"), "--revoked", world.folder / "own.pub"), 8, "is revoked by")


def test_a_signature_may_be_required_of_lists_that_others_name(world: World, write: Write) -> None:
    write("require-signature = true\n")
    refused(dib("verify", world.bundle("own")), 2, "requires a signature, but no signers are configured")
    assert code_of("verify", world.bundle("own")) == "policy.no_signers"
    succeed("verify", world.bundle("own"), "--allowed-signers", world.own)
    with pytest.raises(UsageError):
        dibundle.verify(world.bundle("own"))


def images(name: str) -> tuple[bytes, bytes]:
    """Return an old and a new archive of an image. The new image has the name ``name``, or no name if ``name`` is
    empty.
    """
    layers = [build_layer([file("data", text(1, 9000))])]
    more = [*layers, build_layer([file("version", text(2, 3000))])]
    names = [name] if name else []
    return docker_save([TestImage(layers, ["app:1"])], "v25"), docker_save([TestImage(more, names)], "v25")


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("registry.example/app:2", "team"),
        ("registry.example/app/other:2", "release"),
        ("registry.example/sub/app:2", "team"),
        ("app:2", "team"),
        ("docker.io/library/app:2", "team"),
        ("localhost/app:2", "team"),
        ("else:2", "release"),
        ("", "release"),
    ],
)
@pytest.mark.parametrize("signed", ["release", "team"])
def test_identities_by_image(name: str, who: str, signed: str, world: World, write: Write, tmp_path: Path) -> None:
    write(
        f'allowed-signers = "{world.allowed}"\n[identities]\n'
        '"*" = "release@example.com"\n"registry.example/app" = ["nobody@example.com", "team@example.com"]\n'
        '"registry.example/sub/*" = "team@example.com"\n"app" = "team@example.com"\n'
    )
    old, new = images(name)
    (tmp_path / "old.tar").write_bytes(old)
    (tmp_path / "new.tar").write_bytes(new)
    bundle = tmp_path / "b.dib"
    succeed("create", "-q", tmp_path / "old.tar", tmp_path / "new.tar", bundle)
    succeed("sign", "-q", "--key", world.folder / signed, bundle)
    out = tmp_path / "out"
    for arguments in (
        ("apply", tmp_path / "old.tar", bundle, "-o", out),
        ("verify", bundle),
        ("inspect", bundle),
        ("unwrap", bundle, "-o", out),
    ):
        out.unlink(missing_ok=True)
        ended = dib(*arguments)
        assert ended.code == (0 if signed == who else 8), ended.err
        if signed != who:
            shown = name or "an image without a name"
            told = (
                f"dib: error: {bundle}: the bundle rebuilds {shown}, but is signed by {signed}@example.com (key SHA256:"
            )
            assert told in ended.err
            assert code_of(*arguments) == "policy.identity"
            assert not out.exists()


def test_load_judges_the_names_that_the_archive_has(
    world: World, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load checks the names in the archive.

    A signer who is trusted only for some names could declare such a name in the bundle, but use a different name in the
    archive.
    """
    from dibundle.applying import loading
    from dibundle.format.manifest import Manifest

    write(f'allowed-signers = "{world.allowed}"\n[identities]\n"registry.example/app" = "release@example.com"\n')
    old, new = images("registry.example/app:2")
    (tmp_path / "old.tar").write_bytes(old)
    (tmp_path / "new.tar").write_bytes(new)
    encode = Manifest.encode
    monkeypatch.setattr(Manifest, "encode", lambda self: encode(replace(self, about=None)))
    succeed("create", "-q", tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "b.dib")
    monkeypatch.setattr(Manifest, "encode", encode)
    succeed("sign", "-q", "--key", world.folder / "team", tmp_path / "b.dib")

    class Engine:
        written = b""

        def __init__(self, name: str) -> None: ...
        def __enter__(self) -> Engine:
            return self

        def __exit__(self, *error: object) -> None: ...
        def write(self, data: bytes) -> None:
            Engine.written += bytes(data)

        def finish(self) -> None: ...

    monkeypatch.setattr(loading, "Loader", Engine)
    ended = dib("load", "--engine", "docker", tmp_path / "old.tar", tmp_path / "b.dib")
    assert (ended.code, ended.out) == (8, b"")
    told = f"{tmp_path / 'b.dib'}: the bundle rebuilds registry.example/app:2, but is signed by team@example.com (key "
    assert told in ended.err
    assert b"manifest.json" not in Engine.written
    write(f'allowed-signers = "{world.allowed}"\n[identities]\n"registry.example/app" = "team@example.com"\n')
    succeed("load", "--engine", "docker", tmp_path / "old.tar", tmp_path / "b.dib")
    assert b"manifest.json" in Engine.written


def test_load_judges_the_name_that_it_gives(
    world: World, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load checks the name that dib gives to an unnamed image. dib gives this name because containerd requires one."""
    from dibundle.applying import loading

    write(f'allowed-signers = "{world.allowed}"\n[identities]\n"localhost/*" = "release@example.com"\n')
    for path, data in zip((tmp_path / "old.tar", tmp_path / "new.tar"), images(""), strict=True):
        path.write_bytes(data)
    succeed("create", "-q", tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "b.dib")
    succeed("sign", "-q", "--key", world.folder / "team", tmp_path / "b.dib")
    with open_archive(tmp_path / "new.tar") as archive:
        (image,) = read_images(archive).images
    monkeypatch.setattr(loading, "Loader", None)  # nothing is loaded
    identity = f"sha256:{image.config_digest.hex()}"
    ended = dib("load", "--engine", "ctr", "--expect", identity, tmp_path / "old.tar", tmp_path / "b.dib")
    assert ended.code == 8
    assert f"the bundle rebuilds localhost/dib:sha256-{image.config_digest.hex()}, but is signed by team@" in ended.err


@pytest.mark.parametrize("options", [(), ("--thin",)], ids=["whole", "thin"])
def test_load_judges_the_names_of_both_documents(
    options: tuple[str, ...], world: World, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines take names from index.json or from manifest.json.

    Before the fix, in a thin archive, only the names in manifest.json were checked.
    """
    from dibundle.applying import loading

    write(
        f'allowed-signers = "{world.allowed}"\n[identities]\n'
        '"registry.example/tools/*" = "team@example.com"\n"registry.example/other/*" = "release@example.com"\n'
    )
    old, new = images("registry.example/tools/x:2")
    before, key, after = new.partition(b'"io.containerd.image.name"')
    assert key
    (tmp_path / "old.tar").write_bytes(old)
    (tmp_path / "new.tar").write_bytes(before + key + after.replace(b"/tools/", b"/other/", 1))
    succeed("create", "-q", tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "b.dib")
    succeed("sign", "-q", "--key", world.folder / "team", tmp_path / "b.dib")
    (tmp_path / "docker").write_text(f"#!/bin/sh\ntest $1 = load && exec cat > {tmp_path}/got\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(loading, "require_layers", lambda *_: None)
    ended = dib("load", "--engine", "docker", *options, tmp_path / "old.tar", tmp_path / "b.dib")
    assert ended.code == 8, ended.err
    assert not (tmp_path / "got").exists() or b"index.json" not in (tmp_path / "got").read_bytes()


def test_update_judges_the_name_that_is_asked_for(world: World, write: Write, tmp_path: Path) -> None:
    old, new = images("")
    with serve() as registry:
        for number, data in ((1, old), (2, new)):
            (tmp_path / f"{number}.tar").write_bytes(data)
            put_image(registry, tmp_path / f"{number}.tar", str(number), "app")
        succeed("create", "-q", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "b.dib")
        succeed("sign", "-q", "--key", world.folder / "team", tmp_path / "b.dib")
        name = f"docker://{registry.host}/app"
        succeed("push", "-q", tmp_path / "b.dib", f"{name}:1-2", "--subject", f"{name}:2")
        command = ("update", f"{name}:2", "--base", tmp_path / "1.tar", "-o", tmp_path / "out.tar")
        for who, exit_code in (("release", 8), ("team", 0)):
            write(f'allowed-signers = "{world.allowed}"\n[identities]\n"{registry.host}/*" = "{who}@example.com"\n')
            ended = dib(*command)
            assert ended.code == exit_code, ended.err
            if exit_code:
                assert "but is signed by team@example.com" in ended.err
                assert not (tmp_path / "out.tar").exists()


def test_update_judges_the_name_that_it_gives(
    world: World, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Update checks the name that dib gives to an image. An image that is requested by digest has no name, but
    containerd requires a name.
    """
    from dibundle.applying import loading

    monkeypatch.setattr(loading, "Loader", None)  # nothing is loaded
    with serve() as registry:
        for number, data in enumerate(images("registry.example/app:2"), 1):
            (tmp_path / f"{number}.tar").write_bytes(data)
            manifest = put_image(registry, tmp_path / f"{number}.tar", str(number), "app")
        succeed("create", "-q", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "b.dib")
        succeed("sign", "-q", "--key", world.folder / "team", tmp_path / "b.dib")
        name = f"docker://{registry.host}/app"
        succeed("push", "-q", tmp_path / "b.dib", f"{name}:1-2", "--subject", f"{name}:2")
        write(
            f'allowed-signers = "{world.allowed}"\n[identities]\n"{registry.host}/*" = "team@example.com"\n'
            '"localhost/*" = "release@example.com"\n'
        )
        ended = dib("update", f"{name}@{manifest}", "--base", tmp_path / "1.tar", "--engine", "ctr")
    assert ended.code == 8, ended.err
    assert "the bundle rebuilds localhost/dib:sha256-" in ended.err
    assert "but is signed by team@example.com" in ended.err


def test_list_shows_whom_the_policy_accepts(world: World, write: Write, tmp_path: Path) -> None:
    back = tmp_path / "back.dib"
    succeed("create", "-q", "-1", world.pair.target, world.pair.base, back)
    succeed("sign", "-q", "--key", world.folder / "own", back)
    with serve() as registry:
        for number, bundle in enumerate((world.bundle("release"), back)):
            succeed("push", "-q", bundle, f"docker://{registry.host}/app:{number}")
        write("")
        assert "SIGNED BY" not in succeed("list", f"docker://{registry.host}/app").out.decode()
        write(f'allowed-signers = "{world.allowed}"\n')
        assert "SIGNED BY" in succeed("list", f"docker://{registry.host}/app").out.decode()
        told = json.loads(succeed("list", f"docker://{registry.host}/app", "--json").out)["bundles"]
        found = [(item["signed_by"] or "").partition(" ")[0] for item in told]
        assert sorted(found) == ["", "release@example.com"]
        write("?")
        assert code_of("list", f"docker://{registry.host}/app") == "policy.malformed"


def test_registries_without_tls(write: Write, tmp_path: Path) -> None:
    write('insecure = ["registry.invalid:5000"]\n')
    ended = dib("pull", "docker://other.invalid/app:1", "-o", tmp_path / "out", "--insecure", "other.invalid")
    refused(ended, 2, "requires TLS for other.invalid", '"insecure"')
    command = ("pull", "docker://other.invalid/app:1", "-o", tmp_path / "out", "--insecure", "other.invalid")
    assert code_of(*command) == "policy.insecure"
    from dibundle.files.context import Context
    from dibundle.sources.registry.opening import open_repository
    from dibundle.sources.registry.reference import Reference

    def base_of(name: str, insecure: frozenset[str] = frozenset()) -> str:
        access = dibundle.Access(registries=dibundle.RegistrySettings(insecure=insecure))
        with Context() as context:
            return open_repository(Reference.parse(name), access, context)._transport._base

    assert base_of("docker://registry.invalid:5000/app:1") == "http://registry.invalid:5000"
    assert base_of("docker://other.invalid/app:1") == "https://other.invalid"
    assert base_of("docker://localhost:1/app:1", frozenset(["localhost:1"])) == "http://localhost:1"
    write("")
    assert base_of("docker://other.invalid/app:1", frozenset(["other.invalid"])) == "http://other.invalid"


WRONG = {
    "allowed_signers = '/x'": ":1: allowed_signers: unknown key, wanted allowed-signers, ",
    "\nallowed-signers = 5": ":2: allowed-signers: the absolute name of a file is wanted, not 5",
    "allowed-signers = 'x'": ":1: allowed-signers: the absolute name of a file is wanted, not 'x'",
    "revoked = []": ":1: revoked: the absolute name of a file is wanted, not []",
    "require-signature = 'yes'": ":1: require-signature: true or false is wanted, not 'yes'",
    "insecure = 'host'": ":1: insecure: a list of HOST or HOST:PORT is wanted, not 'host'",
    "insecure = ['http://host']": ":1: insecure: a list of HOST",
    "insecure = [1]": ":1: insecure: a list of HOST",
    "identities = 1": ":1: identities: a table [identities] is wanted, not 1",
    "allowed-signers = '/x'\n[identities]\n'app' = 1": ":3: app: an identity or a list of them is wanted, not 1",
    "allowed-signers = '/x'\n[identities]\n'app' = []": ":3: app: an identity or a list",
    "allowed-signers = '/x'\n[identities]\n'app:1' = 'me'": ":3: app:1: a repository without a tag is wanted",
    "allowed-signers = '/x'\n[identities]\n'*/app' = 'me'": ":3: */app: a repository without a tag is wanted",
    "[identities]\napp = 'me'": ":1: identities: allowed-signers is missing",
    "allowed-signers = '/x'\nrequire-signature = false": ":2: require-signature: false contradicts allowed-signers",
    "allowed-signers = ": ": Invalid value (at ",
    "\nx = \n": ":2: Invalid value (at line 2, column 5)",
    "x = 1\nx = 2": ": Cannot overwrite a value",
    "x = '\udce9'": ": 'utf-8' codec can't decode",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_policy_that_is_wrong_is_refused(content: str, world: World, write: Write) -> None:
    path = write("")
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    ended = dib("verify", world.bundle("release"))
    refused(ended, 3, f"dib: error: malformed policy: {path}", WRONG[content], "dib doctor")
    assert code_of("verify", world.bundle("release")) == "policy.malformed"


def spoil(path: Path, how: str) -> None:
    match how:
        case "malformed":
            path.write_text("?")
        case "unknown user's":
            os.chown(path, 4321, -1)
        case "writable":
            path.chmod(0o666)
        case "folder writable":
            path.parent.chmod(0o777)
        case "folder of another":
            os.chown(path.parent, 4321, -1)
        case "link to nothing":
            path.unlink()
            path.symlink_to("nothing")
        case "folder":
            path.unlink()
            path.mkdir()
        case "no folder":
            shutil.rmtree(path.parent)
            path.parent.write_text("")
        case "folder not mounted":
            shutil.rmtree(path.parent)
            path.parent.symlink_to("nothing")
        case "large":
            path.write_bytes(b"#" * (2 << 20))


SPOILT = {
    "malformed": "policy.malformed",
    "unknown user's": "policy.owner",
    "writable": "policy.writable",
    "folder writable": "policy.writable",
    "folder of another": "policy.owner",
    "link to nothing": "policy.unreadable",
    "folder": "policy.unreadable",
    "no folder": "policy.unreadable",
    "folder not mounted": "policy.unreadable",
    "large": "policy.unreadable",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILT)
def test_without_a_policy_that_can_be_followed_nothing_is_read(
    how: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if " " in how and os.geteuid() and ("user" in how or "another" in how):
        pytest.skip("only root gives files away")
    (tmp_path / "dib").mkdir(mode=0o755)
    spoil(set_policy(monkeypatch, tmp_path / "dib", ""), how)
    bundle, base, out = world.bundle("release"), world.pair.base, tmp_path / "out"
    for arguments in (
        ("apply", base, bundle, "-o", out),
        ("load", "--engine", "docker", base, bundle),
        ("verify", bundle),
        ("inspect", bundle),
        ("report", bundle, "-o", out),
        ("wrap", "--unlinked", bundle, "-o", out),
        ("unwrap", bundle, "-o", out),
        ("push", bundle, "docker://localhost:1/app:1"),
        ("pull", "docker://localhost:1/app:1", "-o", out),
        ("merge", base, bundle, bundle, "-o", out),
    ):
        assert code_of(*arguments) == SPOILT[how], arguments
        assert not out.exists()
    for arguments in (("verify", bundle, "--allowed-signers", world.allowed), ("verify", bundle, "--identity", "x")):
        assert code_of(*arguments) == SPOILT[how], arguments
    with pytest.raises(FileError):
        dibundle.verify(bundle)
    succeed("create", "-q", base, world.pair.target, out)
    succeed("inventory", base)
    succeed("diff", base, world.pair.target)
    succeed("sign", "-q", "--key", world.folder / "own", out)
    succeed("demo")
    refused_again = dib("create", base, bundle, tmp_path / "x")
    assert (refused_again.code, "is a bundle, wanted an image archive" in refused_again.err) == (2, True)
    ended = dib("doctor", "--json")
    assert ended.code == 3
    found = next(item for item in json.loads(ended.out)["checks"] if item["name"] == "policy")
    assert (found["state"], found["hint"] is not None) == ("broken", True)
    assert "do not work" in found["means"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_way_over_a_link_that_others_can_turn_is_refused(world: World, write: Write, tmp_path: Path) -> None:
    """dib refuses a path through a link that other users can replace. In the test, only the path's second link is
    unsafe.
    """
    for name in ("safe", "shared", "good"):
        (tmp_path / name).mkdir(mode=0o755)
    shutil.copy(world.allowed, tmp_path / "good" / "list")
    (tmp_path / "shared" / "now").symlink_to("../good")
    (tmp_path / "safe" / "list").symlink_to("../shared/now/list")
    write(f'allowed-signers = "{tmp_path}/safe/list"\n')
    succeed("verify", world.bundle("release"))
    (tmp_path / "shared").chmod(0o777)
    refused(dib("verify", world.bundle("release")), 3, f"other users can write to {tmp_path}/shared")
    (tmp_path / "shared").chmod(0o1777)  # in a sticky folder, other users cannot replace root's link
    succeed("verify", world.bundle("release"))
    # even in a sticky folder, users can replace their own links
    os.chown(tmp_path / "shared" / "now", 65534, 65534, follow_symlinks=False)
    refused(dib("verify", world.bundle("release")), 3, f"{tmp_path}/shared/now")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["allowed-signers", "revoked"])
@pytest.mark.parametrize("fault", ["absent", "writable"])
def test_lists_that_are_absent_or_of_anyone(key: str, fault: str, world: World, write: Write, tmp_path: Path) -> None:
    named = tmp_path / "list"
    other = "" if key == "allowed-signers" else f'allowed-signers = "{world.allowed}"\n'
    write(f'{other}{key} = "{named}"\n')
    if fault == "writable":
        shutil.copy(world.allowed, named)
        named.chmod(0o666)
    code = "policy.file" if fault == "absent" else "policy.writable"
    absent = f"cannot open {named}, a file that is named in {policy.PATH}"
    told = absent if fault == "absent" else f"other users can write to {named}"
    refused(dib("verify", world.bundle("release")), 3, told)
    assert code_of("verify", world.bundle("release")) == code
    ended = dib("doctor")
    assert ended.code == 3
    assert told in ended.out.decode()


@pytest.mark.slow
def test_doctor_shows_the_policy(world: World, write: Write, tmp_path: Path) -> None:
    assert "policy      no demands (" in dib("doctor").out.decode()
    path = write(
        f'allowed-signers = "{world.allowed}"\nrevoked = "{world.folder}/own.pub"\ninsecure = []\n'
        '[identities]\n"*" = "release@example.com"\n'
    )
    ended = dib("doctor")
    assert (ended.code, ended.err) == (0, "")
    told = ended.out.decode()
    assert (
        f"policy      {path}: bundles signed by those in {world.allowed}; no keys of {world.folder}/own.pub;"
        " identities for *; TLS but for no registry\n"
    ) in told
    assert f"signers     {world.allowed}: 2 keys\n" in told
    assert f"revoked     {world.folder}/own.pub\n" in told
    broken = tmp_path / "broken"
    for content, line in (
        ("me\n", ":1"),
        ("", ""),
        (f"# x\n{world.public['own']}\n", ":2"),
        ("me ssh-ed25519 AAAA\n", ":1"),
    ):
        broken.write_text(content)
        broken.chmod(0o644)
        write(f'allowed-signers = "{broken}"\n')
        ended = dib("doctor")
        assert ended.code == 3
        assert f"signers     {broken}{line}: " in ended.out.decode()


@pytest.mark.slow
def test_doctor_tests_the_signers_of_the_environment(world: World, tmp_path: Path) -> None:
    ended = dib("doctor", env={"DIB_ALLOWED_SIGNERS": str(world.own)})
    assert (ended.code, f"own signers {world.own}: 1 key\n" in ended.out.decode()) == (0, True)
    ended = dib("doctor", env={"DIB_ALLOWED_SIGNERS": str(tmp_path / "none")})
    assert ended.code == 3
    assert f"own signers cannot open {tmp_path / 'none'}: No such file" in ended.out.decode()
    assert "as DIB_ALLOWED_SIGNERS names the file" in ended.out.decode()


def test_a_build_takes_no_policy_along(write: Write, world: World) -> None:
    for content in (f'allowed-signers = "{world.allowed}"\n', "require-signature = true\n"):
        path = write(content)
        ended = dib("dockerfile", "apply", "old.tar", "update.dib")
        refused(ended, 2, f"{path} requires signatures, but a build does not check them")
        assert code_of("dockerfile", "apply", "old.tar", "update.dib") == "dockerfile.policy"
        succeed("dockerfile", "create", "--unlinked", "old.tar", "new.tar")


def test_the_place_is_fixed() -> None:
    """No option and no environment variable sets the path of the policy file. The test lists each environment variable
    that dib reads.
    """
    assert policy.PATH == "/etc/dib/policy.toml"
    names = {
        option.envvar
        for name in main.list_commands(None)
        for option in main.get_command(None, name).params
        if getattr(option, "envvar", None)
    }
    assert names == {"DIB_ALLOWED_SIGNERS", "DIB_REQUIRE_SIGNATURE"}


@pytest.mark.root
def test_the_real_file_holds_in_another_environment(world: World, tmp_path: Path) -> None:
    """The real policy file also applies in other environments, such as those of cron and sudo.

    The test runs in its own mount namespace, because the file would affect every dib on this machine.
    """
    needs.programs("unshare", "mount")
    etc = tmp_path / "etc"
    shutil.copytree("/etc", etc, symlinks=True)
    (etc / "dib").mkdir(mode=0o755, exist_ok=True)
    (etc / "dib" / "policy.toml").write_text(f'allowed-signers = "{world.allowed}"\n')
    (etc / "dib" / "policy.toml").chmod(0o644)

    def run(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        script = 'mount --bind "$1" /etc && shift && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", etc, *DIB, *arguments]
        path = os.environ["PATH"]
        return subprocess.run(command, env={"PATH": path, **env}, capture_output=True, text=True, check=False)

    assert run("verify", world.bundle("release")).returncode == 0
    for more, env in (
        ((), {}),
        ((), {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}),
        ((), {"DIB_ALLOWED_SIGNERS": str(world.own)}),
        (("--allowed-signers", world.own), {}),
    ):
        ended = run("verify", world.bundle("own"), *more, **env)
        assert ended.returncode == 8
        assert "(required by /etc/dib/policy.toml)" in ended.stderr


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("app", "app:1", True),
        ("library/app", "app:1", True),
        ("index.docker.io/library/app", "docker.io/library/app:1", True),
        ("docker.io/app", "docker.io/library/app:1", True),
        ("docker.io/team*", "docker.io/team/app:1", True),
        ("docker.io/team*", "team-app:1", True),
        ("docker.io/*", "docker.io/app:1", True),
        ("docker.io/library/*", "docker.io/app:1", True),
        ("app", "localhost/app:1", True),
        ("localhost/*", "docker.io/team/app:1", False),
        ("localhost/app", "docker.io/app:1", False),
        ("team/*", "index.docker.io/team/x:1", True),
        ("registry.example/app", "Registry.Example:443/app:1", True),
        ("registry.example/app", "registry.example/app2:1", False),
        ("team/*", "teams/x:1", False),
    ],
)
def test_repositories_are_compared_in_one_spelling(pattern: str, name: str, fits: bool) -> None:
    text = f'allowed-signers = "/x"\n[identities]\n"{pattern}" = "r@x"\n"*" = "any@x"\n'
    found = policy._parse(text.encode()).identities_for([name])
    assert next(iter(found)) == (("r@x",) if fits else ("any@x",))


@pytest.mark.parametrize(
    "name", ["docker.io/registry.example/app:1", "index.docker.io/docker.io/registry.example/app:1"]
)
def test_docker_drops_docker_io_before_another_host(name: str) -> None:
    text = 'allowed-signers = "/x"\n[identities]\n"registry.example/app" = "r@x"\n"docker.io/*" = "hub@x"\n'
    assert set(policy._parse(text.encode()).identities_for([name])) == {("r@x",), ("hub@x",)}


@pytest.mark.parametrize(
    "host", ["docker.io", "index.docker.io", "docker.io:443", "DOCKER.IO", "Index.Docker.io:443", "doc\u212aer.io"]
)
def test_a_name_of_many_hosts_takes_little(host: str) -> None:
    """Before the fix, dib added a spelling for each host in a name. A name with many hosts caused a RecursionError."""
    name = f"{host}/" * 200_000 + "registry.example/app"
    found = policy._canonical(name)
    assert len(found) == 1 + host.isascii()
    assert ("registry.example/app" in found) == host.isascii()


@pytest.mark.parametrize("pattern", ["docker.io/*", "localhost/team/*", "docker.io/team/app"])
def test_a_name_without_a_host_is_whatever_an_engine_takes_it_for(pattern: str) -> None:
    text = f'allowed-signers = "/x"\n[identities]\n"{pattern}" = "r@x"\n"*" = "any@x"\n'
    assert set(policy._parse(text.encode()).identities_for(["team/app:1"])) == {("r@x",), ("any@x",)}


@pytest.mark.parametrize(
    "patterns",
    [
        ("app", "library/app"),
        ("registry.example/Team/*",),
        ("team*",),
        ("registry.example*",),
        ("docker.io*",),
        ("registry.example/",),
        ("registry.example/app/",),
    ],
)
def test_patterns_that_mean_nothing_of_their_own_are_refused(patterns: tuple[str, ...]) -> None:
    rows = "".join(f'"{pattern}" = "r@x"\n' for pattern in patterns)
    with pytest.raises(FileError):
        policy._parse(f'allowed-signers = "/x"\n[identities]\n{rows}'.encode())
