"""Signatures by the real ssh-keygen, and expected signers. For a bundle with a wrong signature, dib writes no output at
all.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import dibundle
from dibundle.cli.main import main
from dibundle.errors import FileError, SignatureError
from dibundle.format import signing
from dibundle.format.header import encode_signature_area
from dibundle.format.reader import BundleReader
from dibundle.sources import opened
from dibundle.sources.bundles import CheckSignature, Rereadable
from tests import needs, pairs
from tests.program import Ended, dib, succeed

WHO = "release@example.com"


def keygen(*arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None) -> bytes:
    run = subprocess.run(
        ["ssh-keygen", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=True,
        env={**os.environ, **(env or {})},
    )
    return run.stdout


@dataclass(frozen=True)
class Keys:
    """A folder with keys and their .pub files. Each file has the name of its key."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()

    def fingerprint(self, name: str) -> str:
        return keygen("-l", "-f", self.folder / f"{name}.pub").decode().split()[1]

    def allowed(self, folder: Path, *lines: str) -> Path:
        path = folder / "allowed"
        path.write_text("".join(f"{line}\n" for line in lines or (f"{WHO} {self.public('ed25519')}",)))
        return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    needs.programs("ssh-keygen", "ssh-agent", "ssh-add")
    folder = tmp_path_factory.mktemp("keys")
    for name, kind in (("ed25519", "ed25519"), ("ecdsa", "ecdsa"), ("rsa", "rsa"), ("other", "ed25519")):
        bits = ("-b", "2048") if kind == "rsa" else ()
        keygen("-q", "-t", kind, *bits, "-N", "", "-C", name, "-f", folder / name)
    return Keys(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pairs.Pair:
    return pairs.make(tmp_path_factory.mktemp("made"), megabytes=1)


@pytest.fixture
def bundle(made: pairs.Pair, tmp_path: Path) -> Path:
    """A bundle that the test can change."""
    path = tmp_path / "update.dib"
    path.write_bytes(made.bundle.read_bytes())
    return path


@pytest.fixture
def signed(bundle: Path, keys: Keys) -> Path:
    succeed("sign", "-q", "--key", keys["ed25519"], bundle)
    return bundle


def refused(made: pairs.Pair, bundle: Path, *options: str | Path, code: int = 8) -> Ended:
    """Assert that verify refuses the bundle, and that apply refuses it with stdout, a file and --check. Return the
    result of apply.
    """
    out = bundle.parent / "out.tar"
    ended = dib("apply", made.base, bundle, *options)
    for again in (
        ended,
        dib("apply", made.base, bundle, "-o", out, *options),
        dib("apply", "--check", made.base, bundle, *options),
        dib("verify", bundle, *options),
    ):
        assert again.code == code, again.err
        assert again.out == b""
        assert again.err.startswith("dib: error: ")
        assert not out.exists()
    return ended


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_openssh_accepts_what_dib_signs(kind: str, keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path, f"{WHO} {keys.public(kind)}")
    succeed("sign", "-q", "--detach", "--key", keys[kind], bundle)
    assert bundle.read_bytes() == made.bundle.read_bytes()
    told = keygen(
        *("-Y", "verify", "-n", "dib", "-f", allowed, "-I", WHO, "-s", tmp_path / "update.dib.sig"),
        stdin=bundle.read_bytes()[:64],
    )
    assert b"Good" in told
    trust = ("--allowed-signers", allowed, "--signature", tmp_path / "update.dib.sig")
    assert keys.fingerprint(kind) in succeed("verify", bundle, *trust).out.decode()
    assert succeed("apply", made.base, bundle, "--require-signature", *trust).out == made.target.read_bytes()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_dib_accepts_what_openssh_signs(kind: str, keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path, f"*@example.com,!bad@example.com {keys.public(kind)}")
    by_hand = keygen("-Y", "sign", "-q", "-n", "dib", "-f", keys[kind], stdin=bundle.read_bytes()[:64])
    (tmp_path / "by-hand.sig").write_bytes(by_hand)
    succeed("sign", "-q", "--signature", tmp_path / "by-hand.sig", bundle)
    area = bundle.read_bytes()[64:]
    assert area[4 : 4 + int.from_bytes(area[:4], "little")] == by_hand
    trust = ("--allowed-signers", allowed, "--identity", WHO)
    assert f"signed by {WHO}" in succeed("verify", bundle, *trust).out.decode()
    assert succeed("apply", made.base, bundle, *trust).out == made.target.read_bytes()
    refused(made, bundle, "--allowed-signers", allowed, "--identity", "bad@example.com")


def test_signs_in_place_and_keeps_the_mode(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    bundle.chmod(0o640)
    ended = succeed("sign", "--key", keys["ed25519"], bundle)
    assert keys.fingerprint("ed25519") in ended.err
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["update.dib"]
    first, plain = bundle.read_bytes(), made.bundle.read_bytes()
    assert (first[:64], first[-(len(plain) - 72) :]) == (plain[:64], plain[72:])
    assert succeed("apply", made.base, bundle).out == made.target.read_bytes()
    told = succeed("inspect", bundle).out.decode()
    assert f"signed by {keys.fingerprint('ed25519')}, not checked" in told
    assert "in place of another" in succeed("sign", "--key", keys["other"], bundle).err
    assert len(bundle.read_bytes()) == len(first)
    refused(made, bundle, "--allowed-signers", keys.allowed(tmp_path))


def test_writes_a_signed_copy(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    succeed("sign", "-q", "--key", keys["ed25519"], bundle, "-o", tmp_path / "signed.dib")
    assert bundle.read_bytes() == made.bundle.read_bytes()
    succeed("verify", tmp_path / "signed.dib", "--allowed-signers", keys.allowed(tmp_path))


@pytest.mark.parametrize("suffix", ["", ".pub"])
def test_a_passphrase_that_nobody_can_type_is_told(suffix: str, bundle: Path, tmp_path: Path) -> None:
    needs.programs("ssh-keygen", "setsid")
    before, key = bundle.read_bytes(), tmp_path / "locked"
    keygen("-q", "-t", "ed25519", "-N", "secret", "-f", key)
    command = ["setsid", "--wait", sys.executable, "-m", "dibundle", "sign", "--key", f"{key}{suffix}", bundle]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_", "DISPLAY"))}
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=env)
    assert run.returncode == 8
    assert f"{key} has a passphrase" in run.stderr.decode()
    assert run.stderr.decode().endswith(f"ssh-add {key}\n")
    assert bundle.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {bundle.name, "locked", "locked.pub"}


def test_signs_with_a_key_that_an_agent_holds(keys: Keys, bundle: Path, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            subprocess.run(["sleep", "0.02"], check=True)
        env = {"SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", keys["other"]], check=True, env={**os.environ, **env}, capture_output=True)
        public = tmp_path / "held.pub"
        public.write_text(keys.public("other") + "\n")
        succeed("sign", "-q", "--key", public, bundle, env=env)
    finally:
        agent.terminate()
        agent.wait()
    allowed = keys.allowed(tmp_path, f"{WHO} {keys.public('other')}")
    assert f"signed by {WHO}" in succeed("verify", bundle, "--allowed-signers", allowed).out.decode()
    assert dib("sign", "-q", "--key", public, bundle, env=env).code == 8


def test_signs_a_bundle_in_parts(keys: Keys, made, tmp_path: Path) -> None:
    for form in ("in place", "detached", "joined"):
        folder = tmp_path / form.replace(" ", "-")
        folder.mkdir()
        succeed("create", "-q", "--split", "65536", made.base, made.target, folder / "u.dib")
        parts = sorted(folder.iterdir())
        assert len(parts) > 1
        allowed = keys.allowed(tmp_path)
        if form == "in place":
            succeed("sign", "-q", "--key", keys["ed25519"], parts[0])
            succeed("verify", parts[0], "--allowed-signers", allowed)
        elif form == "detached":
            succeed("sign", "-q", "--detach", "--key", keys["ed25519"], parts[0])
            succeed("verify", parts[0], "--allowed-signers", allowed, "--signature", folder / "u.dib.sig")
        else:
            succeed("sign", "-q", "--key", keys["ed25519"], parts[0], "-o", folder / "whole.dib")
            succeed("verify", folder / "whole.dib", "--allowed-signers", allowed)


def test_a_signature_beside_the_bundle_is_found(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path)
    beside = tmp_path / "update.dib.sig"
    ended = refused(made, bundle, "--allowed-signers", allowed)
    assert ended.err.startswith(f"dib: error: {bundle}: the bundle is not signed\n")
    assert "--signature FILE" in ended.err
    succeed("sign", "-q", "--detach", "--key", keys["ed25519"], bundle)
    assert succeed("apply", made.base, bundle, "--allowed-signers", allowed).out == made.target.read_bytes()
    assert f"signed by {WHO}" in succeed("verify", bundle, "--allowed-signers", allowed).out.decode()
    assert dib("verify", "-", "--allowed-signers", allowed, stdin=bundle.read_bytes()).code == 8
    succeed("sign", "-q", "--detach", "--key", keys["other"], bundle)
    ended = refused(made, bundle, "--allowed-signers", allowed)
    assert f"{bundle}: {beside}: {allowed} has no valid line for the key {keys.fingerprint('other')}" in ended.err
    # no other signature counts
    ended = refused(made, bundle, "--allowed-signers", allowed, "--signature", keys["ed25519"])
    assert str(beside) not in ended.err
    for garbage in (b"", b"garbage", b"\n" * ((1 << 20) + 1)):
        beside.write_bytes(garbage)
        assert f"{bundle}: {beside}: " in refused(made, bundle, "--allowed-signers", allowed).err
    beside.unlink()
    os.mkfifo(beside)
    assert "is not signed" in refused(made, bundle, "--allowed-signers", allowed).err
    beside.unlink()
    beside.write_bytes(b"garbage")
    succeed("sign", "-q", "--key", keys["ed25519"], bundle)
    succeed("verify", bundle, "--allowed-signers", allowed)  # the bundle's own signature has priority


def test_a_signature_beside_parts_is_found(keys: Keys, made, tmp_path: Path) -> None:
    succeed("create", "-q", "--split", "65536", made.base, made.target, tmp_path / "u.dib")
    succeed("sign", "-q", "--detach", "--key", keys["ed25519"], tmp_path / "u.dib.001")
    succeed("verify", tmp_path / "u.dib.001", "--allowed-signers", keys.allowed(tmp_path))


def test_the_name_of_a_bundle_is_escaped_in_errors(keys: Keys, bundle: Path, tmp_path: Path) -> None:
    odd = bundle.rename(tmp_path / "a\x1b[2J.dib")
    ended = dib("verify", odd, "--allowed-signers", keys.allowed(tmp_path))
    assert (ended.code, r"a\x1b[2J.dib: the bundle is not signed" in ended.err, "\x1b" in ended.err) == (8, True, False)


def test_an_unsigned_bundle_is_refused(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    ended = refused(made, bundle, "--allowed-signers", keys.allowed(tmp_path), "--require-signature")
    assert "not signed" in ended.err


def test_another_key_is_refused(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path, f"{WHO} {keys.public('other')}")
    ended = refused(made, signed, "--allowed-signers", allowed)
    assert keys.fingerprint("ed25519") in ended.err
    refused(made, signed, "--allowed-signers", allowed, "--identity", WHO)


def test_another_identity_is_refused(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path)
    ended = refused(made, signed, "--allowed-signers", allowed, "--identity", "else@example.com")
    assert (
        f"the key {keys.fingerprint('ed25519')} that signed the bundle does not belong to else@example.com" in ended.err
    )
    assert f"in {allowed}, the key belongs to {WHO}; correct --identity, or get another bundle" in ended.err


def test_another_namespace_is_refused(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path)
    other = keygen("-Y", "sign", "-q", "-n", "git", "-f", keys["ed25519"], stdin=bundle.read_bytes()[:64])
    (tmp_path / "git.sig").write_bytes(other)
    ended = refused(made, bundle, "--allowed-signers", allowed, "--signature", tmp_path / "git.sig")
    assert "namespace git" in ended.err
    ended = dib("sign", "--signature", tmp_path / "git.sig", bundle)
    assert (ended.code, f"{bundle}: the signature is for namespace git" in ended.err) == (8, True)
    succeed("sign", "-q", "--key", keys["ed25519"], bundle)
    keys.allowed(tmp_path, f'{WHO} namespaces="git" {keys.public("ed25519")}')
    refused(made, bundle, "--allowed-signers", allowed)


def test_validity_is_judged_as_of_a_time(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    line = f'{WHO} valid-after="20200101",valid-before="20210101" {keys.public("ed25519")}'
    allowed = keys.allowed(tmp_path, line)
    for options, told, hint in (
        (
            (),
            "expired on 2021-01-01 00:00:00",
            "if the bundle was signed before the key expired, add --verify-time 202012312359",
        ),
        (("--identity", WHO), "expired on 2021-01-01 00:00:00", "ask the sender to sign again with a valid key"),
        (("--verify-time", "20190601"), "is not valid before 2020-01-01 00:00:00", "check the clock of this machine"),
    ):
        ended = refused(made, signed, "--allowed-signers", allowed, *options)
        key = keys.fingerprint("ed25519")
        assert f"{signed}: the key {key} that signed the bundle {told} ({allowed}:1)\n" in ended.err
        assert hint in ended.err
    refused(made, signed, "--allowed-signers", allowed, "--verify-time", "yesterday", code=2)
    succeed("verify", signed, "--allowed-signers", allowed, "--verify-time", "202006011200")


def test_a_revoked_key_is_refused(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path)
    krl = tmp_path / "krl"
    keygen("-q", "-k", "-f", krl, keys.folder / "other.pub")
    succeed("verify", signed, "--allowed-signers", allowed, "--revoked", krl)
    keygen("-q", "-k", "-f", krl, keys.folder / "ed25519.pub")
    ended = refused(made, signed, "--allowed-signers", allowed, "--revoked", krl)
    assert f"that signed the bundle is revoked by {krl}" in ended.err
    assert "get a bundle signed with another key" in ended.err
    public = keys.folder / "ed25519.pub"
    ended = refused(made, signed, "--allowed-signers", allowed, "--revoked", public, "--identity", WHO)
    assert f"that signed the bundle is revoked by {public}" in ended.err
    krl.write_text("garbage\n")
    refused(made, signed, "--allowed-signers", allowed, "--revoked", krl)
    refused(made, signed, "--allowed-signers", allowed, "--revoked", tmp_path / "none", code=3)


def areas(good: bytes) -> Iterator[bytes]:
    half = len(good) // 2
    yield b"garbage"
    yield good[:half]
    yield good[:half] + bytes((good[half] ^ 1,)) + good[half + 1 :]
    yield good + b"more"
    yield b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"
    yield b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAf////8=\n-----END SSH SIGNATURE-----\n"
    yield bytes(1 << 20)


def test_garbage_in_the_signature_area_is_refused(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    allowed = keys.allowed(tmp_path)
    whole = signed.read_bytes()
    length = int.from_bytes(whole[64:68], "little")
    for area in areas(whole[68 : 68 + length]):
        signed.write_bytes(whole[:64] + encode_signature_area(area) + whole[72 + length :])
        assert dib("apply", made.base, signed).out == made.target.read_bytes()
        assert b"signed" in succeed("inspect", signed).out
        refused(made, signed, "--allowed-signers", allowed)


def test_a_signature_that_is_none_is_not_tried_for_each_principal(
    keys: Keys, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, dib tried an invalid signature of 1 MiB for each of 1,500 principals, in 79 s."""
    allowed = tmp_path / "many"
    allowed.write_text("".join(f"p{number} {keys.public('ed25519')}\n" for number in range(300)))
    with signed.open("rb") as file:
        reader = BundleReader(file)
    asked = []
    ssh_keygen = signing._ssh_keygen
    monkeypatch.setattr(
        signing, "_ssh_keygen", lambda *words, **more: asked.append(words) or ssh_keygen(*words, **more)
    )
    with pytest.raises(SignatureError, match="not accepted"):
        signing.Signers(allowed=str(allowed)).check(b"another header", reader.signature)
    assert len(asked) == 2
    assert "p0" in signing.Signers(allowed=str(allowed)).check(reader.header_bytes, reader.signature)


def test_a_signature_that_is_too_large_is_refused(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "large.sig").write_bytes(b"\n" * ((1 << 20) + 1))
    ended = refused(made, bundle, "--allowed-signers", keys.allowed(tmp_path), "--signature", tmp_path / "large.sig")
    assert "at most" in ended.err
    plain = bundle.read_bytes()
    bundle.write_bytes(plain[:64] + encode_signature_area(b"\n" * ((1 << 20) + 1)) + plain[72:])
    refused(made, bundle, "--allowed-signers", keys.allowed(tmp_path), code=5)


def test_a_signature_is_checked_before_anything_else_is_read(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    """dib checks the signature before it reads anything else. So a changed header is reported as a wrong signature."""
    allowed = keys.allowed(tmp_path)
    whole = bytearray(signed.read_bytes())
    whole[40] ^= 1
    signed.write_bytes(whole)
    refused(made, signed, "--allowed-signers", allowed)
    refused(made, signed, "--allowed-signers", keys.allowed(tmp_path, f"x {keys.public('other')}"))


@pytest.mark.parametrize("command", [("unwrap",), ("wrap", "--unlinked", "--tag", "app:1")])
def test_what_changes_after_it_was_checked_is_checked_again(
    command: tuple[str, ...], keys: Keys, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While dib runs, another user replaces the archive's signed bundle by an unsigned bundle."""
    archive = tmp_path / "wrapped.tar"
    succeed("wrap", "-q", signed, "--unlinked", "--tag", "app:1", "-o", archive)
    data = bytearray(archive.read_bytes())
    # now the header has another manifest digest, which the signature does not cover
    data[data.index(signed.read_bytes()[:64]) + 40] ^= 1
    check_signature = opened.check_signature

    def checked(stream: Rereadable, name: str | None, check: CheckSignature) -> None:
        check_signature(stream, name, check)
        archive.write_bytes(data)

    monkeypatch.setattr(opened, "check_signature", checked)
    options = [*command, archive, "-o", tmp_path / "out", "--allowed-signers", keys.allowed(tmp_path)]
    with pytest.raises(SignatureError):
        main.main([str(item) for item in options], standalone_mode=False)
    assert not (tmp_path / "out").exists()


def test_a_tampered_frame_is_damage(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    whole = bytearray(signed.read_bytes())
    whole[-1] ^= 1
    signed.write_bytes(whole)
    ended = dib("apply", made.base, signed, "--allowed-signers", keys.allowed(tmp_path))
    assert ended.code == 7
    assert dib("sign", "--key", keys["other"], signed).code == 7


def test_every_bundle_of_a_chain_must_be_signed(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.dib"
    succeed("create", "-q", made.target, made.base, back)
    trust = ("--allowed-signers", keys.allowed(tmp_path))
    out = tmp_path / "out.tar"
    ended = dib("apply", made.base, signed, back, "-o", out, *trust)
    assert (ended.code, ended.out, out.exists()) == (8, b"", False)
    both = tmp_path / "back.sig"
    succeed("sign", "-q", "--detach", "--key", keys["ed25519"], back, "-o", both)
    assert dib("apply", made.base, signed, back, *trust, "--signature", both).code == 8
    succeed("sign", "-q", "--key", keys["ed25519"], back)


def test_says_what_is_missing(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    ended = refused(made, signed, "--identity", WHO, code=2)
    assert "--allowed-signers" in ended.err
    assert dib("apply", made.base, signed, "--require-signature").code == 2
    # an empty value, for instance from an unset variable in a script
    for option in ("--identity", "--revoked", "--verify-time"):
        refused(made, signed, option, "", code=2)
    refused(made, signed, "--allowed-signers", tmp_path / "none", code=3)
    ended = dib("apply", made.base, signed, env={"DIB_ALLOWED_SIGNERS": ""})
    assert (ended.code, ended.out) == (2, b"")
    assert "DIB_ALLOWED_SIGNERS is set, but empty" in ended.err
    ended = dib("verify", signed, env={"DIB_ALLOWED_SIGNERS": str(tmp_path / "none")})
    assert (ended.code, ended.out) == (3, b"")
    assert f"the file in DIB_ALLOWED_SIGNERS cannot be used: cannot open {tmp_path / 'none'}: No such file" in ended.err
    assert "create the file (see" in ended.err
    for options in ((), ("--key", keys["rsa"], "--signature", "x"), ("--key", tmp_path / "none")):
        before = signed.read_bytes()
        assert dib("sign", signed, *options).code in (2, 3)
        assert signed.read_bytes() == before


def test_apply_and_load_tell_who_signed(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    trust = ("--allowed-signers", keys.allowed(tmp_path))
    line = f"signed by {WHO} (key {keys.fingerprint('ed25519')})"
    (tmp_path / "engine").mkdir()
    (tmp_path / "podman").write_text(
        f'#!/bin/sh\nMACHINE={tmp_path} exec {sys.executable} {Path(__file__).parents[1]}/stand_in.py podman "$@"\n'
    )
    (tmp_path / "podman").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for command in (("apply", "-o", tmp_path / "o"), ("apply", "-o", f"{tmp_path}/"), ("load", "--engine", "podman")):
        ended = succeed(*command, made.base, signed, *trust, "--json", env=env)
        assert line in ended.err.splitlines()
        assert json.loads(ended.out)["signed_by"] == [line.removeprefix("signed by ")]
    again = ("apply", "-o", tmp_path / "o", made.base, signed)
    assert "signed by" not in succeed(*again).err
    assert succeed(*again, *trust, "-q").err == ""


def test_the_environment_says_whose_bundles_count(keys: Keys, made, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    apply = ("apply", made.base, bundle, "-o", out)
    env = {"DIB_ALLOWED_SIGNERS": str(keys.allowed(tmp_path)), "DIB_REQUIRE_SIGNATURE": "1"}
    for command in (apply, ("load", made.base, bundle, "--engine", "docker"), ("verify", bundle)):
        ended = dib(*command, env=env)
        assert (ended.code, ended.out) == (8, b""), ended.err
        assert "not signed" in ended.err
        assert not out.exists()
        ended = succeed(command[0], "--help")
        for name in env:
            assert f"[env var: {name}]" in " ".join(ended.out.decode().split())
    for command in (apply, ("verify", bundle)):
        ended = dib(*command, env={"DIB_REQUIRE_SIGNATURE": "1"})
        assert (ended.code, ended.out) == (2, b"")
        assert "DIB_REQUIRE_SIGNATURE is set" in ended.err
        assert "no signers are given" in ended.err
    succeed("sign", "-q", "--key", keys["ed25519"], bundle)
    succeed(*apply, env=env)
    assert out.read_bytes() == made.target.read_bytes()
    checked = succeed("apply", "--check", made.base, bundle, "--json", env=env)
    assert checked.err.startswith("signed by ")
    assert json.loads(checked.out)["signed_by"][0].startswith(WHO)
    (tmp_path / "others").write_text(f"{WHO} {keys.public('rsa')}\n")
    # the option takes precedence over the environment variable
    assert dib("verify", bundle, "--allowed-signers", tmp_path / "others", env=env).code == 8


def test_stdin_is_signed_beside(keys: Keys, made, tmp_path: Path) -> None:
    data = made.bundle.read_bytes()
    out = tmp_path / "s.sig"
    succeed("sign", "-q", "--detach", "-o", out, "--key", keys["ed25519"], "-", stdin=data)
    trust = ("--allowed-signers", keys.allowed(tmp_path), "--signature", out)
    assert succeed("apply", made.base, "-", *trust, stdin=data).out == made.target.read_bytes()
    assert dib("sign", "--key", keys["ed25519"], "-", stdin=data).code == 2
    assert dib("sign", "--detach", "--key", keys["ed25519"], "-", stdin=data).code == 2


def test_a_bundle_for_something_else_is_refused(made, bundle: Path, tmp_path: Path) -> None:
    told = json.loads(succeed("inspect", "--json", bundle).out)["targets"][0]
    for expected in (told["sha256"], told["images"][0]["id"], told["images"][0]["id"].removeprefix("sha256:")):
        assert succeed("apply", made.base, bundle, "--expect", expected).out == made.target.read_bytes()
        succeed("apply", "--check", made.base, bundle, "--expect", expected)
        succeed("verify", "-q", bundle, "--base", made.base, "--expect", expected)
    out = tmp_path / "out.tar"
    other = ("--expect", "0" * 64)
    for arguments in (
        ("apply", made.base, bundle),
        ("apply", made.base, bundle, "-o", out),
        ("apply", "--check", made.base, bundle),
        ("apply", "--format", "oci-archive", made.base, bundle, "-o", out),
        ("verify", bundle, "--base", made.base),
    ):
        ended = dib(*arguments, *other)
        assert (ended.code, ended.out, out.exists()) == (8, b"", False)
        assert told["images"][0]["id"] in ended.err
    assert dib("verify", bundle, *other).code == 2
    assert dib("apply", made.base, bundle, "--expect", "0" * 12).code == 2


def test_keys_that_are_not_as_they_should_be_are_told(keys: Keys, made, signed: Path, tmp_path: Path) -> None:
    open_key = tmp_path / "open"
    open_key.write_bytes(keys["ed25519"].read_bytes())
    open_key.chmod(0o644)
    ended = dib("sign", "--key", open_key, signed)
    assert (ended.code, f"chmod 600 {open_key}" in ended.err) == (8, True)
    bare = tmp_path / "bare"
    bare.write_text(keys.public("other") + "\n")
    ended = dib("apply", made.base, signed, "--allowed-signers", bare)
    assert (ended.code, "the file has only a public key" in ended.err) == (8, True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.rstrip(b"\n"), "the key file lacks its last newline"),
        (lambda data: data.replace(b"\n", b"\r\n"), "the key file has carriage returns"),
        (lambda data: data[:200] + b"\n", "ssh-keygen cannot sign with the private key"),
        (lambda data: b"", "is empty"),
    ],
)
def test_a_private_key_that_is_not_whole_is_told(
    change: Callable[[bytes], bytes], told: str, keys: Keys, bundle: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_bytes(change(keys["ed25519"].read_bytes()))
    ended = dib("sign", "--key", key, bundle)
    assert (ended.code, ended.out) == (8, b"")
    assert f"key {key}" in ended.err
    assert told in ended.err
    assert "No such file" not in ended.err


def test_a_detached_signature_among_the_sources_is_told(keys: Keys, made, bundle: Path) -> None:
    succeed("sign", "--detach", "--key", keys["ed25519"], bundle)
    signature = f"{bundle}.sig"
    for arguments in (("apply", made.base, bundle, signature), ("load", made.base, bundle, signature)):
        ended = dib(*arguments)
        assert (ended.code, ended.out) == (4, b"")
        assert f"{signature} is a signature, not an archive or a bundle" in ended.err
        assert f"--signature {signature}" in ended.err


def test_no_ssh_keygen_at_all(keys: Keys, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_FOLDERS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileError) as caught:
        dibundle.verify(signed, access=dibundle.Access(signers=dibundle.Signers(allowed=str(keys.allowed(tmp_path)))))
    assert "openssh-client" in str(caught.value.hint)


def test_the_environment_has_no_say_in_whom_to_trust(keys: Keys, signed: Path, made, tmp_path: Path) -> None:
    """The environment does not decide whom to trust.

    Before the fix, a false ssh-keygen on the PATH could accept all signatures, and the variable TZ could make expired
    keys valid.
    """
    fake = tmp_path / "bin" / "ssh-keygen"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho {WHO}\n")
    fake.chmod(0o755)
    nobody = tmp_path / "nobody"
    nobody.write_text(f"{WHO} {keys.public('other')}\n")
    path = f"{fake.parent}:{os.environ['PATH']}"
    assert dib("verify", signed, "--allowed-signers", nobody, env={"PATH": path}).code == 8
    ended = time.strftime("%Y%m%d%H%M", time.localtime(time.time() - 20 * 3600))
    expired = tmp_path / "expired"
    expired.write_text(f'{WHO} valid-before="{ended}" {keys.public("ed25519")}\n')
    for zone in ("", "XXX24"):
        assert dib("verify", signed, "--allowed-signers", expired, env={"TZ": zone}).code == 8
