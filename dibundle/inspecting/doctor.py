"""Checks of this machine: libraries, encoders, engines, tools, and free space for temporary files."""

from __future__ import annotations

import importlib
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import zstandard

from dibundle.codecs import reencoders
from dibundle.codecs.frames import libzstd
from dibundle.codecs.native.library import fault
from dibundle.errors import FileError, SignatureError, install_hint
from dibundle.files import wording
from dibundle.files.readat import Spool, default_spool_dir
from dibundle.format import signing
from dibundle.sources import policy

State = Literal["ok", "missing", "broken"]
_TIMEOUT = 5  # maximum seconds for an engine to answer
_REINSTALL = f"in a checkout of dib: {install_hint('--force-reinstall .')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """The result of a check of this machine.

    ``found`` says what was found. ``means`` explains what a failure means. ``vital`` is true if create or apply needs
    the checked feature.
    """

    name: str
    state: State
    found: str
    means: str | None = None
    hint: str | None = None
    vital: bool = False


def checks(tmp: str | None = None, signers: str | None = None) -> Iterator[DoctorCheck]:
    """Yield all checks. Vital checks come first. ``signers`` is the file that DIB_ALLOWED_SIGNERS names."""
    yield DoctorCheck(name="python", state="ok", found=f"{platform.python_version()}, {platform.machine()}", vital=True)
    for name in ("zstandard", "msgpack"):
        yield _module(name, name, "nothing works", vital=True)
    yield _library()
    yield _encoders()
    yield _libzstd()
    yield _room(tmp)
    yield from _policy()
    if signers is not None:
        yield _list("own signers", signers, "DIB_ALLOWED_SIGNERS")
    yield _module("urllib3", "urllib3", "docker:// names, push, pull and update do not work")
    yield _tool("ssh-keygen", "dib sign and --allowed-signers do not work", "apt-get install openssh-client")
    for client, command in (
        ("docker", ("docker", "version", "--format", "{{.Server.Version}}")),
        ("podman", ("podman", "version", "--format", "{{.Client.Version}}")),
        ("ctr", ("ctr", "version")),
    ):
        yield _engine(client, command)


def _module(name: str, package: str, means: str, *, vital: bool = False) -> DoctorCheck:
    try:
        importlib.import_module(name)
        return DoctorCheck(name=name, state="ok", found=version(package) or "?", vital=vital)
    except PackageNotFoundError:
        return DoctorCheck(name=name, state="ok", found="of an unknown version", vital=vital)
    except ImportError as error:
        state: State = "missing" if isinstance(error, ModuleNotFoundError) and error.name == name else "broken"
        hint = install_hint(package)
        return DoctorCheck(name=name, state=state, found=str(error), means=means, hint=hint, vital=vital)


def _library() -> DoctorCheck:
    reason = fault()
    if reason is None:
        return DoctorCheck(name="C library", state="ok", found="built", vital=True)
    means = "nothing works"
    return DoctorCheck(name="C library", state="missing", found=reason, means=means, hint=_REINSTALL, vital=True)


def _encoders() -> DoctorCheck:
    """Compress a sample with every encoder, and check the result."""
    wrong = []
    own = sorted(number for number in reencoders.KNOWN if number >> 4 not in libzstd.FAMILIES)
    for encoder in own:
        try:
            reencoders.prove(encoder >> 4, encoder & 15)
        except FileError as error:
            wrong.append(str(error))
    count = len(own)
    if wrong:
        means = "bundles that need these cannot be applied"
        return DoctorCheck(name="encoders", state="broken", found="; ".join(wrong), means=means, hint=_REINSTALL)
    return DoctorCheck(name="encoders", state="ok", found=f"all {count} give the bytes that they should")


def _libzstd() -> DoctorCheck:
    """Test libzstd, which recompresses layers that the program zstd wrote.

    Only a few versions of libzstd can do this.
    """
    found = ".".join(map(str, zstandard.ZSTD_VERSION))
    wanted = ", ".join(release.name for release in libzstd.RELEASES.values())
    means = f"bundles of layers by zstd {wanted} cannot be applied, nor does create make these again"
    first = libzstd.here()
    if first is None:
        newest = list(libzstd.RELEASES.values())[-1].packages
        hint = install_hint(f"'{newest}'")
        return DoctorCheck(name="libzstd", state="missing", found=f"{found}, not {wanted}", means=means, hint=hint)
    try:
        for encoder in (first, first + 1):
            for level in libzstd.FAMILIES[encoder].levels:
                libzstd.prove(encoder, level)
    except FileError as error:
        hint = install_hint(f"--force-reinstall '{libzstd.RELEASES[first].packages}'")
        return DoctorCheck(name="libzstd", state="broken", found=str(error), means=means, hint=hint)
    return DoctorCheck(name="libzstd", state="ok", found=f"{found} gives the bytes that it should")


def _room(tmp: str | None) -> DoctorCheck:
    place = tmp or default_spool_dir()
    try:
        spool = Spool(place)
        spool.write(b"x")
        spool.close()
        free = shutil.disk_usage(place).free
    except (FileError, OSError) as error:
        hint = "name another folder: --tmp DIR"
        return DoctorCheck(name="disk", state="broken", found=str(error), means="nothing works", hint=hint, vital=True)
    return DoctorCheck(name="disk", state="ok", found=f"{free:,} bytes free in {place}", vital=True)


def _policy() -> Iterator[DoctorCheck]:
    """Test the policy of this machine, and the files that the policy names."""
    try:
        machine = policy.read_policy()
    except FileError as error:
        means = "commands that read bundles or speak to registries do not work"
        yield DoctorCheck(name="policy", state="broken", found=error.message, means=means, hint=error.hint, vital=True)
        return
    demands = "; ".join(machine.demands)
    found = f"{policy.PATH}: {demands}" if demands else f"no demands ({policy.PATH})"
    yield DoctorCheck(name="policy", state="ok", found=found, vital=True)
    if machine.allowed is not None:
        yield _list("signers", machine.allowed, policy.PATH)
    if machine.revoked is not None:
        yield _list("revoked", machine.revoked, policy.PATH)


def _list(name: str, file: str, by: str) -> DoctorCheck:
    """Test a file of signers or of revoked keys. ``by`` is the setting that names the file."""
    try:
        if by == policy.PATH:
            policy.require_safe(file)
        if name == "revoked":
            signing.require_readable(file)
            found = file
        else:
            found = f"{file}: {wording.count(signing.count_signers(file), 'key')}"
    except (FileError, SignatureError) as error:
        state: State = "broken" if Path(file).exists() else "missing"
        means = f"commands that read bundles do not work, as {by} names the file"
        return DoctorCheck(name=name, state=state, found=error.message, means=means, hint=error.hint, vital=True)
    return DoctorCheck(name=name, state="ok", found=found, vital=True)


def _tool(name: str, means: str, hint: str) -> DoctorCheck:
    found = shutil.which(name)
    if found:
        return DoctorCheck(name=name, state="ok", found=found)
    return DoctorCheck(name=name, state="missing", found="not installed", means=means, hint=hint)


def _engine(client: str, command: tuple[str, ...]) -> DoctorCheck:
    means = f"dib load --engine {client} does not work"
    if not shutil.which(client):
        return DoctorCheck(name=client, state="missing", found="not installed", means=means)
    hint = f"see what it says: {client} info"
    try:
        told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        found = f"does not answer within {_TIMEOUT} seconds"
        return DoctorCheck(name=client, state="broken", found=found, means=means, hint=hint)
    except OSError as error:
        return DoctorCheck(name=client, state="broken", found=str(error), means=means, hint=hint)
    lines = (told.stderr if told.returncode else told.stdout).decode(errors="replace").strip().splitlines()
    if told.returncode:
        found = lines[-1] if lines else f"exit code {told.returncode}"
        return DoctorCheck(name=client, state="broken", found=found, means=means, hint=hint)
    return DoctorCheck(name=client, state="ok", found=lines[-1].strip() if lines else "answers")
