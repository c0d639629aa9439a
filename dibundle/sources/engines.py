"""Container engines as programs: they save an image, load an archive, and list their images."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from types import TracebackType
from typing import IO, Final, Self

from dibundle.errors import WORDS, AbsentError, DibError, FileError, Message, UsageError, shell_words
from dibundle.files.context import Context
from dibundle.files.destination import write_all
from dibundle.files.readat import Spool
from dibundle.format.values import AboutImage
from dibundle.images.document import get, get_list, get_text, sha256_of
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


TRANSPORTS: Final = {"docker": "docker-daemon:", "podman": "containers-storage:"}
"""Prefixes of names of images in an engine's store."""
_SAVE: Final = {
    "docker-daemon": ("docker", "image", "inspect", "--format", "{{.Size}}"),
    "containers-storage": ("podman", "image", "inspect", "--format", "{{.Size}}"),
}
_CONFIG_STORES: Final = ("overlay2", "vfs", "btrfs", "zfs", "fuse-overlayfs", "aufs", "devicemapper")
"""Drivers of docker's own store: this store identifies an image by its config."""
_SILENT: Final = (b"Cannot connect to", b"permission denied", b"failed to connect")
_ASIDE: Final = re.compile(r"time=|See '")  # beginnings of log lines, and of hints about where to read more
_PATIENCE: Final = 10  # maximum seconds for an engine to report whether it works
_AT_ONCE: Final = 256  # maximum images per query of an engine, because command lines have a limited length
_DIGITS: Final = 19  # maximum digits of a size in bytes
_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")
_MAX_ANSWER: Final = 16 << 20  # maximum bytes of an answer


def default_engine(sources: Sequence[str] = (), *, needed: bool = True) -> str:
    """Return the engine of the first source that is in an engine, else the first engine whose client is installed.

    If there is no such engine, raises :class:`UsageError` or, if ``needed`` is False, returns docker.
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
    """Return the engine that a command line names, by --engine or in an image's name, else an installed engine."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for option, engine in pairwise(words):
        if option == "--engine" and engine in ENGINES:
            return engine
    return default_engine(words, needed=False)


def words_for(engine: str) -> Mapping[str, str]:
    """Return the words that hints use for the commands of an engine."""
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
    """Raise :class:`LoadError` unless the engine has images with these layers, which a thin archive leaves out.

    Raises :class:`FileError` if the engine does not answer.

    ``chains`` are diffIDs, the lowest layer's first. ``base``: the name, in messages, of an image with the layers.
    ``file``: the file with this image, if any. The tool ctr cannot list layers, but its loader detects missing layers.
    """
    wanted = {[*chain_ids(chain)][-1] for chain in {*chains} if chain}
    if engine != "ctr" and not wanted <= {found for layers in _layers(engine) for found in chain_ids(layers)}:
        raise LoadError(
            messages.ENGINE_THIN_LAYERS_OF_FILE if file else messages.ENGINE_THIN_LAYERS,
            engine=engine,
            base=base,
            file=file and shell_words(file),
            exit_code=6,
        )


def layers_present(engine: str, diff_ids: Sequence[bytes], digests: Sequence[bytes]) -> int:
    """Return how many of an image's lowest layers an engine reports.

    docker and podman report ``diff_ids`` of images. ctr reports the ``digests`` under which it stores layers.
    """
    if engine == "ctr":
        listed = _run(("ctr", "content", "ls", "--quiet"))
        if listed.returncode:
            raise no_answer(engine, listed.stderr)
        there = set(listed.stdout.decode(errors="replace").split())
        return sum(1 for _ in takewhile(lambda item: f"sha256:{item.hex()}" in there, digests))
    same = (takewhile(lambda pair: pair[0] == pair[1], zip(diff_ids, has, strict=False)) for has in _layers(engine))
    return max((sum(1 for _ in pairs) for pairs in same), default=0)


def image_id(engine: str, name: str) -> str | None:
    """Return the ID that docker or podman shows for a name, as ``sha256:...``; None if it has no such image."""
    return next((_id(image) for image in _inspect(engine, name)), None)


def _inspect(engine: str, *names: str) -> list[object]:
    """Return the document of docker or podman about each of the images that the engine has."""
    found = _run((*ENGINES[engine][1], "--", *names))
    try:
        told = json.loads(found.stdout)
    except (ValueError, RecursionError):
        return []
    return told if isinstance(told, list) else []


def _id(image: object) -> str | None:
    found = get_text(image, "Id")
    return None if found is None else "sha256:" + found.removeprefix("sha256:")


def _layers_of(image: object) -> list[bytes]:
    """Return the digests of an inspected image's layers, the lowest first; other values become empty."""
    found = (item for item in get_list(get(image, "RootFS"), "Layers") if isinstance(item, str))
    return [sha256_of(f"sha256:{item.removeprefix('sha256:')}") or b"" for item in found]


def _layers(engine: str) -> list[list[bytes]]:
    """Return the digests of the layers of every image that an engine has, the lowest first."""
    listed = _run((engine, "image", "ls", "--quiet", "--no-trunc"))
    if listed.returncode:
        raise no_answer(engine, listed.stderr)
    ids = sorted(item for item in set(listed.stdout.decode(errors="replace").split()) if _ID.fullmatch(item))
    batches = (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))
    return [_layers_of(image) for batch in batches for image in _inspect(engine, *batch)]


def _is_podman_alone() -> bool:
    """Return whether podman works while docker's client finds no daemon that answers."""
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
    """Refuse an unknown engine; None means any engine."""
    if name is not None and name not in ENGINES:
        raise UsageError(messages.ENGINE_UNKNOWN, name=name)


class _Tail:
    """The end of a program's output, read while it runs, because a program stops if its pipe is full."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe
        self._fd = os.dup(pipe.fileno())  # not a file object: it could not be closed while the thread reads it
        pipe.close()
        self._text = b""
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def _drain(self) -> None:
        while chunk := os.read(self._fd, 4096):
            self._text = (self._text + chunk)[-65536:]
        os.close(self._fd)

    def end(self) -> bytes:
        """Return the last output after the program has ended, even if a child of it keeps the pipe open."""
        self._reader.join(5)
        return self._text


class Loader:
    """A running loader. This context manager ends the loader if its input fails, so that nothing is loaded."""

    def __init__(self, engine: str) -> None:
        self._load, _ = ENGINES[engine]
        self._engine = engine

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                self._load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise FileError(messages.PROGRAM_CANNOT_RUN_2, load_=self._load[0], reason=error.strerror) from error
        self._said = _Tail(self._process.stdout)
        return self

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Pass bytes to the loader; raise :class:`LoadError` if it has stopped reading."""
        assert self._process.stdin
        try:
            write_all(self._process.stdin.fileno(), piece)
        except BrokenPipeError:
            code = self._process.wait() or 1
            self._fail(code)

    def finish(self) -> None:
        """Close the pipe and wait; :class:`LoadError` carries the loader's exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        code = self._process.wait()
        if code:
            self._fail(code)

    def check_digests(self, names: Sequence[str], ids: Collection[bytes]) -> None:
        """Query the engine for each name of an image; raise :class:`LoadError` if the image has none of the digests.

        The store determines which of the ``ids`` the image has: the digest of the config or of the manifest. Without
        names, the ids are queried.
        """
        wanted = {f"sha256:{item.hex()}" for item in ids}
        if self._engine == "ctr":
            told = [row.split() for row in self._ask("ctr", "images", "ls").splitlines()[1:]]
            there = {row[0]: row[2] for row in told if len(row) > 2}
            for name in names:
                found = next((there[item] for item in there if item == name or item.endswith("/" + name)), "nothing")
                self._require(name, found, wanted)
            if not names and not wanted & set(there.values()):
                self._require("no name", "nothing", wanted)
            return
        for name in names:
            self._require(name, image_id(self._engine, name) or "nothing", wanted)
        if not names and not any(image_id(self._engine, item) in wanted for item in sorted(wanted)):
            self._require("no name", "nothing", wanted)

    def check_whole(self, names: Iterable[str]) -> None:
        """Check that the engine has all blobs of an image, if the engine stores blobs and the archive left some out.

        Raises :class:`LoadError` if blobs are missing: the engine stores the layers in another form.
        """
        for name in names:
            if self._engine == "docker":  # docker does not list incomplete images
                known = name.removeprefix("docker.io/").removeprefix("library/")  # docker lists names without these
                is_whole = bool(self._ask("docker", "image", "ls", "--quiet", "--", known).split())
            elif self._engine == "ctr":
                rows = self._ask("ctr", "images", "check").splitlines()
                is_whole = not any(
                    "incomplete" in row
                    and not row.rstrip().endswith("true")  # containerd may drop unpacked blobs
                    and (row.split()[0] == name or row.split()[0].endswith("/" + name))
                    for row in rows[1:]
                )
            else:
                is_whole = True  # no check is needed, because podman identifies layers by their content
            if not is_whole:
                raise LoadError(messages.ENGINE_LAYERS_IN_OTHER_FORM, engine=self._engine, name=name, exit_code=6)

    def _require(self, name: str, found: str, wanted: Collection[str]) -> None:
        if found not in wanted:
            raise LoadError(
                messages.ENGINE_OTHER_DIGEST,
                engine=self._engine,
                found=found,
                name=name,
                wanted=" or ".join(sorted(wanted)),
                exit_code=3,
            )

    def _ask(self, *command: str) -> str:
        found = _run(command)
        if found.returncode:
            raise no_answer(self._engine, found.stderr)
        return found.stdout.decode(errors="replace")

    def check(self, image: AboutImage) -> None:
        """Query the engine for an image; raise :class:`LoadError` if the engine has no image or a different image."""
        name = image.names[0] if image.names and "\0" not in image.names[0] else f"sha256:{image.id.hex()}"
        if self._engine == "ctr":
            self._check_ctr(image)
            return
        found = next(iter(_inspect(self._engine, name)), None)
        told = _id(found)
        if told is None:
            raise LoadError(messages.ENGINE_NOT_THERE, engine=self._engine, name=name, exit_code=3)
        # docker's containerd store identifies an image by its manifest or index, so the layers are compared.
        is_config = self._engine == "podman" or get_text(get(found, "GraphDriver"), "Name") in _CONFIG_STORES
        has_layers = _layers_of(found) == [*image.diff_ids]
        if told != f"sha256:{image.id.hex()}" and (is_config or not has_layers):
            raise LoadError(messages.ENGINE_OTHER_IMAGE, engine=self._engine, name=name, told=told[7:], exit_code=3)

    def _check_ctr(self, image: AboutImage) -> None:
        found = _run(("ctr", "images", "ls", "-q"))
        names = set(found.stdout.decode(errors="replace").split())
        wanted = [name for name in image.names if not any(item == name or item.endswith("/" + name) for item in names)]
        if found.returncode or (image.names and len(wanted) == len(image.names)):
            raise LoadError(messages.ENGINE_NOT_THERE_IN_CTR, wanted=", ".join(wanted), exit_code=3)

    def _fail(self, code: int) -> None:
        text = self._said.end().decode(errors="replace").strip().splitlines()
        last = text[-1] if text else "no message"
        message = messages.ENGINE_LOAD_FAILED
        if self._engine == "docker" and last.endswith("/blobs/json: no such file or directory"):
            message = messages.ENGINE_NO_OCI_ARCHIVE
        elif self._engine == "docker" and _is_podman_alone():
            message = messages.ENGINE_PODMAN_WORKS
        raise LoadError(message, engine=self._engine, last=last, exit_code=code if 0 < code < 126 else 3)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        if self._process.poll() is None:
            # The input ends in the middle of an entry, so that every loader refuses the incomplete input.
            self._process.stdin.close()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        elif not self._process.stdin.closed:
            self._process.stdin.close()
        self._said.end()


def saved_layers(transport: str, reference: str) -> tuple[bytes, list[bytes]]:
    """Return the ID and the diffIDs of the image that an engine would save; raise the errors of :func:`save`."""
    _require_image(transport, reference)
    found = next(iter(_inspect(_SAVE[transport][0], reference)), None)
    return sha256_of(_id(found)) or b"", list(filter(None, _layers_of(found)))


def save(
    transport: str,
    reference: str,
    context: Context,
    *,
    platform: str | None = None,
    sizes: Collection[int] | None = None,
) -> Spool:
    """Save an image with an engine; return the archive in a temporary file of ``context``.

    If ``sizes`` has the sizes of the layers that will be read, all other layers are left out, see :func:`sieve`.
    """
    client = _SAVE[transport][0]
    room = _require_image(transport, reference)
    context.check_room(room if sizes is None else min(room, sum(sizes)))
    spool = context.spool()
    chosen = ["--platform", platform] if platform else []
    command = [client, "save", *chosen, *(["--multi-image-archive"] if client == "podman" else []), "--", reference]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as saving:
        assert saving.stdout
        said = _Tail(saving.stderr)
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
    """Return the approximate bytes of an engine's image; raise :class:`AbsentError` if there is no such image."""
    inspect = _SAVE[transport]
    client = inspect[0]
    if not reference:
        raise UsageError(messages.ENGINE_NO_NAME, transport_=transport)
    if shutil.which(client) is None:
        raise AbsentError(messages.ENGINE_CLIENT_MISSING, transport_=transport, reference=reference, client=client)
    answer = _run((*inspect, "--", reference))
    if answer.returncode and any(sign in answer.stderr for sign in _SILENT):
        raise no_answer(client, answer.stderr)
    if answer.returncode:
        raise AbsentError(
            messages.ENGINE_NO_IMAGE, client=client, reference=reference, client_message=client_message(answer.stderr)
        )
    size = answer.stdout.strip()
    return int(size) if size.isdigit() and len(size) < _DIGITS else 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run an engine's client; raise :class:`FileError` if it cannot be run, or its answer exceeds 16 MiB."""
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as asking:
            assert asking.stdout
            errors = _Tail(asking.stderr)
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
    """Return the likely cause: containerd has dropped unpacked layers, or the client is too old for an option."""
    if b"not found" in text and b"content digest" in text:
        return messages.ENGINE_SAVE_DISCARDED
    if b"unknown flag: --platform" in text:
        return messages.ENGINE_SAVE_NO_PLATFORM
    return messages.ENGINE_SAVE_FAILED
