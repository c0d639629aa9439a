"""Names of images as skopeo has them: ``docker-daemon:app:1``, ``oci:FOLDER``; anything else is a path."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from dibundle.errors import AbsentError, FileError, UsageError
from dibundle.files.readat import Spool, check_room
from dibundle.images.tar.sieve import sieve
from dibundle.sources import messages
from dibundle.sources.engines import no_answer, told_by

_SAVE: Final = {
    "docker-daemon": ("docker", "image", "inspect", "--format", "{{.Size}}"),
    "containers-storage": ("podman", "image", "inspect", "--format", "{{.Size}}"),
}
DISCARDED: Final = (
    "containerd discards unpacked layers here: set discard_unpacked_layers = false and pull the image again"
)
_SILENT: Final = (b"Cannot connect to", b"permission denied", b"failed to connect")
_FILES: Final = ("docker-archive", "oci-archive", "oci")


def engine_of(name: str) -> tuple[str, str] | None:
    """Return transport and reference of a name that an engine has to save, None for any other name."""
    transport, colon, reference = name.partition(":")
    return (transport, reference) if colon and transport in _SAVE and not Path(name).exists() else None


def path_of(name: str) -> str:
    """Return the path that a name stands for: of ``oci:FOLDER:TAG`` the folder, as all that is in it counts."""
    transport, colon, rest = name.partition(":")
    if not colon or transport not in _FILES or Path(name).exists():
        return name
    if Path(rest).exists():
        return rest
    path, colon, _ = rest.rpartition(":")
    while colon and not Path(path).exists():
        path, colon, _ = path.rpartition(":")
    return path if colon else rest


def save(
    transport: str,
    reference: str,
    stack: ExitStack,
    *,
    tmp: str | None,
    platform: str | None = None,
    sizes: Collection[int] | None = None,
) -> Spool:
    """Ask an engine to save an image; return the archive in a temporary file that ``stack`` gives back.

    Where the ``sizes`` of the layers that will be read are known, the others are left out, see :func:`sieve`.
    """
    inspect = _SAVE[transport]
    client = inspect[0]
    if not reference:
        raise UsageError(messages.ENGINE_NO_NAME, transport_=transport)
    if shutil.which(client) is None:
        raise AbsentError(messages.ENGINE_CLIENT_MISSING, transport_=transport, reference=reference, client=client)
    told = _run([*inspect, "--", reference])
    if told.returncode and any(sign in told.stderr for sign in _SILENT):
        raise no_answer(client, told.stderr)
    if told.returncode:
        raise AbsentError(messages.ENGINE_NO_IMAGE, client=client, reference=reference, told_by=told_by(told.stderr))
    size = told.stdout.strip()
    room = int(size) if size.isdigit() else 0
    check_room(tmp, room if sizes is None else min(room, sum(sizes)))
    spool = stack.enter_context(closing(Spool(tmp)))
    chosen = ["--platform", platform] if platform else []
    command = [client, "save", *chosen, *(["--multi-image-archive"] if client == "podman" else []), "--", reference]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as saving:
        assert saving.stdout
        assert saving.stderr
        try:
            if sizes is None:
                while piece := saving.stdout.read(1 << 20):
                    spool.write(piece)
            else:
                sieve(saving.stdout.read, spool, sizes)
        except BaseException:
            saving.kill()
            raise
        text = saving.stderr.read()
    if saving.returncode:
        raise FileError(
            messages.ENGINE_SAVE_FAILED,
            client=client,
            reference=reference,
            told_by=told_by(text),
            hint=_remedy(client, text),
        )
    return spool


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise FileError(messages.PROGRAM_CANNOT_RUN, command=command[0], reason=error.strerror) from error


def _remedy(client: str, text: bytes) -> str | None:
    """Say what to do where a containerd has thrown away what it unpacked, or a client is too old for an option."""
    if b"not found" in text and b"content digest" in text:
        return DISCARDED
    if b"unknown flag: --platform" in text:
        return f"this {client} saves what it has: run the command without --platform, or with docker://HOST/NAME:TAG"
    return None
