"""Run the client programs of container engines, to save an image or to list an engine's images."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import IO, Final, NamedTuple

from dibundle.errors import WORDS, AbsentError, DibError, FileError, Message, UsageError, shell_words
from dibundle.files.context import Context
from dibundle.files.readat import Spool
from dibundle.images.document import sha256_of
from dibundle.images.model import chain_ids
from dibundle.images.tar.sieve import sieve
from dibundle.sources import messages

ENGINES = {
    "docker": (("docker", "load", "--quiet"), ("docker", "image", "inspect")),
    "podman": (("podman", "load", "--quiet"), ("podman", "image", "inspect")),
    "ctr": (("ctr", "images", "import", "-"), ("ctr", "images", "check")),
}


class LoadError(DibError):
    """The engine refused the image, or reported success without having the image."""

    def __init__(self, message: Message, /, *, exit_code: int, **values: object) -> None:
        super().__init__(message, **values)
        self.exit_code = exit_code


LAYERS_ABSENT: Final = 6  # exit code if the engine lacks layers that the archive leaves out
TRANSPORTS: Final = {"docker": "docker-daemon:", "podman": "containers-storage:"}
"""Prefixes of names of images in an engine's store."""
_SAVE: Final = {
    "docker-daemon": ("docker", "image", "inspect", "--format", "{{.Size}}"),
    "containers-storage": ("podman", "image", "inspect", "--format", "{{.Size}}"),
}
_SILENT: Final = (b"Cannot connect to", b"permission denied", b"failed to connect")
_ASIDE: Final = re.compile(r"time=|See '")  # beginnings of log lines, and of hints about where to read more
_PATIENCE: Final = 10  # maximum seconds for an engine to report whether it works
_AT_ONCE: Final = 256  # maximum images per query of an engine, because command lines have a limited length
_DIGITS: Final = 19  # maximum digits of a size in bytes
_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")
_MAX_ANSWER: Final = 16 << 20  # maximum bytes of an answer
_DESCRIPTION: Final = (
    "{{.Id}} {{json .RootFS.Layers}} {{with .GraphDriver}}{{json .Name}}{{else}}null{{end}}"  # for docker and podman
)


def default_engine(sources: Sequence[str] = (), *, needed: bool = True) -> str:
    """Return the engine of the first source that names an engine, or else the first installed engine.

    If no engine is found, raises :class:`UsageError`. But if ``needed`` is False, returns docker.
    """
    for source in sources:
        for name, transport in TRANSPORTS.items():
            if source.startswith(transport):
                return name
    for name in ("docker", "podman", "ctr"):
        if shutil.which(name):
            return name
    if not needed:
        return "docker"
    raise UsageError(messages.ENGINE_NONE)


def engine_in_use(arguments: Sequence[str]) -> str:
    """Return the engine from --engine or from an image's name on the command line, or else an installed engine."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for option, engine in pairwise(words):
        if option == "--engine" and engine in ENGINES:
            return engine
    return default_engine(words, needed=False)


def words_for(engine: str) -> Mapping[str, str]:
    """Return the words that hints use for an engine's commands."""
    if engine == "podman":
        found = {"docker": "podman", "save": "podman save -o", "load": "podman load -i"}
        return {**WORDS, **found, "transport": TRANSPORTS["podman"], "give": f"give {TRANSPORTS['podman']}"}
    if engine == "ctr":
        found = {"save": "ctr images export", "load": "ctr images import"}
        return {**WORDS, **found, "give": "save it first: ctr images export image.tar "}
    return WORDS


def client_message(text: bytes) -> str:
    """Return a client's stderr as one line, without log lines, and without hints that say where to read more."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
    return "; ".join(line for line in lines if line and not _ASIDE.match(line)) or "no message"


def no_answer(engine: str, text: bytes) -> FileError:
    """Return the error for an engine that does not answer, with its client's message."""
    return FileError(messages.ENGINE_NO_ANSWER, engine=engine, client_message=client_message(text))


def require_layers(engine: str, chains: Iterable[tuple[bytes, ...]], base: str, file: str | None) -> None:
    """Raise :class:`LoadError` if the engine has no images with the layers that a thin archive leaves out.

    Raises :class:`FileError` if the engine does not answer.

    Each chain has the diffIDs of such layers, the lowest first. ``base`` is the name that messages use for an image
    with the layers. ``file`` is the file with this image, if any. The tool ctr cannot list layers, but its loader
    detects missing layers.
    """
    wanted = {[*chain_ids(chain)][-1] for chain in {*chains} if chain}
    if engine != "ctr" and not wanted <= {
        found for image in every_image(engine) for found in chain_ids(image.diff_ids)
    }:
        raise LoadError(
            messages.ENGINE_THIN_LAYERS_OF_FILE if file else messages.ENGINE_THIN_LAYERS,
            engine=engine,
            base=base,
            file=file and shell_words(file),
            exit_code=LAYERS_ABSENT,
        )


def layers_present(engine: str, diff_ids: Sequence[bytes], digests: Sequence[bytes]) -> int:
    """Return how many layers of an image, counted from the lowest, an engine reports.

    docker and podman report ``diff_ids`` of images. ctr reports the ``digests`` under which it stores layers.
    """
    if engine == "ctr":
        listed = run(("ctr", "content", "ls", "--quiet"))
        if listed.returncode:
            raise no_answer(engine, listed.stderr)
        there = set(listed.stdout.decode(errors="replace").split())
        return sum(1 for _ in takewhile(lambda item: f"sha256:{item.hex()}" in there, digests))
    chains = (image.diff_ids for image in every_image(engine))
    same = (takewhile(lambda pair: pair[0] == pair[1], zip(diff_ids, has, strict=False)) for has in chains)
    return max((sum(1 for _ in pairs) for pairs in same), default=0)


class EngineImage(NamedTuple):
    """An image in docker or podman: its displayed ID, its diffIDs (the lowest first), and its store's driver."""

    id: str
    diff_ids: list[bytes]
    driver: str


def image_id(engine: str, name: str) -> str | None:
    """Return the ID that docker or podman shows for a name, as ``sha256:...``.

    Return None if the engine has no image with this name.
    """
    return next((image.id for image in described(engine, name)), None)


def has_listed(engine: str, name: str, ids: Collection[str]) -> bool:
    """Return whether docker or podman lists an image with this name and one of the IDs. docker hides incomplete images.

    A name alone is not enough, because docker's containerd store may keep an image's name without its layers.
    """
    return image_id(engine, name) in ids and (engine != "docker" or is_listed(name))


def is_listed(name: str) -> bool:
    """Return whether docker lists an image with this name."""
    known = name.removeprefix("docker.io/").removeprefix("library/")  # docker lists names without these prefixes
    listed = run(("docker", "image", "ls", "--quiet", "--", known))
    if listed.returncode:
        raise no_answer("docker", listed.stderr)
    return bool(listed.stdout.split())


def described(engine: str, *names: str) -> list[EngineImage]:
    """Return docker's or podman's images with these names or IDs, without most of their configs."""
    found = []
    for line in run((*ENGINES[engine][1], "--format", _DESCRIPTION, "--", *names)).stdout.splitlines():
        try:
            shown, listed, driver = (item.decode() for item in line.split(b" ", 2))
            layers = json.loads(listed)
            diff_ids = [sha256_of(f"sha256:{item.removeprefix('sha256:')}") or b"" for item in layers or ()]
            found.append(EngineImage("sha256:" + shown.removeprefix("sha256:"), diff_ids, driver.strip('"')))
        except (ValueError, TypeError, AttributeError, RecursionError):  # this line does not have the requested format
            continue
    return found


def every_image(engine: str) -> list[EngineImage]:
    """Return every image that docker or podman lists."""
    listed = run((engine, "image", "ls", "--quiet", "--no-trunc"))
    if listed.returncode:
        raise no_answer(engine, listed.stderr)
    ids = sorted(item for item in set(listed.stdout.decode(errors="replace").split()) if _ID.fullmatch(item))
    batches = (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))
    return [image for batch in batches for image in described(engine, *batch)]


def is_podman_alone() -> bool:
    """Return whether ``podman info`` succeeds and ``docker info`` fails."""
    for command, wanted in ((("docker", "info"), False), (("podman", "info"), True)):
        try:
            told = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
            )
            answers = not told.returncode
        except (OSError, subprocess.TimeoutExpired):
            answers = False
        if answers is not wanted:
            return False
    return True


def require_engine(name: str | None) -> None:
    """Refuse an unknown engine. None means any engine."""
    if name is not None and name not in ENGINES:
        raise UsageError(messages.ENGINE_UNKNOWN, name=name)


class Tail:
    """The end of a program's output.

    The output is read while the program runs, because a program stops if its pipe is full.
    """

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe
        # not a file object, because a file object cannot be closed while a thread reads from it
        self._fd = os.dup(pipe.fileno())
        pipe.close()
        self._text = b""
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while chunk := os.read(self._fd, 4096):
            self._text = (self._text + chunk)[-65536:]
        os.close(self._fd)

    def end(self) -> bytes:
        """Return the end of the output of an ended program, even if a child process keeps the pipe open."""
        self._reader.join(5)
        return self._text


def saved_layers(transport: str, reference: str) -> tuple[bytes, list[bytes]]:
    """Return the ID and the diffIDs of the image that an engine would save. Raise the errors of :func:`save`."""
    _require_image(transport, reference)
    image = next(iter(described(_SAVE[transport][0], reference)), EngineImage("", [], ""))
    return sha256_of(image.id) or b"", list(filter(None, image.diff_ids))


def save(
    transport: str,
    reference: str,
    context: Context,
    *,
    platform: str | None = None,
    sizes: Collection[int] | None = None,
) -> Spool:
    """Save an image with an engine. Return the archive in a temporary file of ``context``.

    ``sizes`` are the sizes of the layers that will be read. If given, all other layers are left out (see
    :func:`sieve`).
    """
    client = _SAVE[transport][0]
    room = _require_image(transport, reference)
    context.check_room(room if sizes is None else min(room, sum(sizes)))
    spool = context.spool()
    chosen = ["--platform", platform] if platform else []
    command = [client, "save", *chosen, *(["--multi-image-archive"] if client == "podman" else []), "--", reference]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as saving:
        assert saving.stdout
        said = Tail(saving.stderr)
        try:
            if sizes is None:
                while piece := saving.stdout.read(1 << 20):
                    spool.write(piece)
            else:
                sieve(saving.stdout.read, spool, sizes)
        except BaseException:
            saving.kill()
            raise
        text = said.end()
    if saving.returncode:
        raise FileError(_why_unsaved(text), client=client, reference=reference, client_message=client_message(text))
    return spool


def _require_image(transport: str, reference: str) -> int:
    """Return the approximate size of an engine's image in bytes.

    Raise :class:`AbsentError` if there is no such image.
    """
    inspect = _SAVE[transport]
    client = inspect[0]
    if not reference:
        raise UsageError(messages.ENGINE_NO_NAME, transport_=transport)
    if shutil.which(client) is None:
        raise AbsentError(messages.ENGINE_CLIENT_MISSING, transport_=transport, reference=reference, client=client)
    answer = run((*inspect, "--", reference))
    if answer.returncode and any(sign in answer.stderr for sign in _SILENT):
        raise no_answer(client, answer.stderr)
    if answer.returncode:
        raise AbsentError(
            messages.ENGINE_NO_IMAGE, client=client, reference=reference, client_message=client_message(answer.stderr)
        )
    size = answer.stdout.strip()
    return int(size) if size.isdigit() and len(size) < _DIGITS else 0


def run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run an engine's client. Raise :class:`FileError` if the client cannot be run, or if its answer exceeds 16 MiB."""
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as asking:
            assert asking.stdout
            errors = Tail(asking.stderr)
            answer = asking.stdout.read(_MAX_ANSWER + 1)
            if len(answer) > _MAX_ANSWER:
                asking.kill()
                raise no_answer(command[0], b"too long an answer")
            return subprocess.CompletedProcess(command, asking.wait(), answer, errors.end())
    except OSError as error:
        raise FileError(messages.PROGRAM_CANNOT_RUN, command=command[0], reason=error.strerror) from error
    except ValueError as error:  # the name cannot be passed to a program
        raise FileError(messages.PROGRAM_CANNOT_RUN, command=command[0], reason=str(error)) from error


def _why_unsaved(text: bytes) -> Message:
    """Return the message with the likely reason why an image was not saved."""
    if b"not found" in text and b"content digest" in text:
        return messages.ENGINE_SAVE_DISCARDED
    if b"unknown flag: --platform" in text:
        return messages.ENGINE_SAVE_NO_PLATFORM
    return messages.ENGINE_SAVE_FAILED
