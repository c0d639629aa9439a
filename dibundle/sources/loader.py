"""The loader of a container engine.

The loader is the program that reads an archive. After the loader has ended, the engine's images are checked.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from dibundle.errors import FileError
from dibundle.files.destination import write_all
from dibundle.format.values import AboutImage
from dibundle.images.writers import whole_name
from dibundle.sources import messages
from dibundle.sources.engines import (
    ENGINES,
    LAYERS_ABSENT,
    LoadError,
    Tail,
    client_message,
    described,
    every_image,
    image_id,
    is_listed,
    is_podman_alone,
    no_answer,
    run,
)

_CONFIG_STORES: Final = ("overlay2", "vfs", "btrfs", "zfs", "fuse-overlayfs", "aufs", "devicemapper")
"""Drivers of docker's own store, which identifies an image by its config."""


class Loader:
    """A running loader. If the input fails, this context manager ends the loader, so that nothing is loaded."""

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
        self._said = Tail(self._process.stdout)
        return self

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Pass bytes to the loader. Raise :class:`LoadError` if the loader has stopped reading."""
        assert self._process.stdin
        try:
            write_all(self._process.stdin.fileno(), piece)
        except BrokenPipeError:
            code = self._process.wait() or 1
            self._fail(code)

    def finish(self) -> None:
        """Close the pipe, and wait until the loader ends. On failure, raise :class:`LoadError` with its exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        code = self._process.wait()
        if code:
            self._fail(code)

    def check_digests(self, names: Sequence[str], ids: Collection[bytes]) -> None:
        """Query the engine for each name of an image. Raise :class:`LoadError` if the image has none of the digests.

        ``ids`` are the digests of the config and of the manifest. The engine's store uses one of these digests as the
        image's ID. Without ``names``, query the engine for the ``ids``.
        """
        wanted = {f"sha256:{item.hex()}" for item in ids}
        if self._engine == "ctr":
            for name in names:  # a list of all images would take about 1 ms for each image
                there = self._there(f"name=={whole_name(name)}") or self._there(f"name=={name}")
                self._require(name, next(iter(there.values()), "nothing"), wanted)
            if not names and not wanted & set(self._there().values()):
                self._require("no name", "nothing", wanted)
            return
        for name in names:
            self._require(name, image_id(self._engine, name) or "nothing", wanted)
        if not names and not any(image_id(self._engine, item) in wanted for item in sorted(wanted)):
            self._require("no name", "nothing", wanted)

    def _there(self, *filters: str) -> dict[str, str]:
        """Return the digest of each name that ctr lists."""
        rows = [row.split() for row in self._ask("ctr", "images", "ls", *filters).splitlines()[1:]]
        return {row[0]: row[2] for row in rows if len(row) > 2}

    def name(self, names: Sequence[str], source: str) -> None:
        """Add ``names`` to the image that is called ``source``. Raise :class:`LoadError` if the engine refuses."""
        for name in names:
            words = ("ctr", "images", "tag", "--force") if self._engine == "ctr" else (self._engine, "tag")
            done = run((*words, "--", source, whole_name(name, self._engine)))
            if done.returncode:
                said = client_message(done.stderr)
                raise LoadError(messages.ENGINE_LOAD_FAILED, engine=self._engine, last=said, exit_code=3)

    def forget(self, names: Sequence[str]) -> None:
        """Remove names, if the engine has them. An image without another name is removed too."""
        if names:
            with suppress(FileError):  # if the client cannot be run, another error reports this
                run((*(("ctr", "images", "rm") if self._engine == "ctr" else (self._engine, "rmi")), "--", *names))

    def check_whole(self, names: Iterable[str]) -> None:
        """If the engine stores blobs, check that it has every blob that the archive left out.

        Raises :class:`LoadError` if blobs are missing. Blobs are missing if the engine stores the layers in another
        form.
        """
        for name in names:
            if self._engine == "docker":
                is_whole = is_listed(name)
            elif self._engine == "ctr":
                rows = self._ask("ctr", "images", "check", f"name=={whole_name(name)}").splitlines()
                # containerd may drop a blob after it has unpacked the blob
                is_whole = not any("incomplete" in row and not row.rstrip().endswith("true") for row in rows[1:])
            else:
                is_whole = True  # no check is needed, because podman identifies layers by their content
            if not is_whole:
                raise LoadError(
                    messages.ENGINE_LAYERS_IN_OTHER_FORM, engine=self._engine, name=name, exit_code=LAYERS_ABSENT
                )

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
        found = run(command)
        if found.returncode:
            raise no_answer(self._engine, found.stderr)
        return found.stdout.decode(errors="replace")

    def check(self, image: AboutImage) -> None:
        """Query the engine for an image. Raise :class:`LoadError` if the engine has no image or a different image."""
        name = image.names[0] if image.names and "\0" not in image.names[0] else f"sha256:{image.id.hex()}"
        if self._engine == "ctr":
            self._check_ctr(image)
            return
        diff_ids = [*image.diff_ids]
        found = next(iter(described(self._engine, name)), None)
        if not found and not image.names:  # docker's containerd store identifies an image by its manifest or index
            found = next((item for item in every_image(self._engine) if item.diff_ids == diff_ids), None)
        if not found:
            raise LoadError(messages.ENGINE_NOT_THERE, engine=self._engine, name=name, exit_code=3)
        is_config = self._engine == "podman" or found.driver in _CONFIG_STORES
        if found.id != f"sha256:{image.id.hex()}" and (is_config or found.diff_ids != diff_ids):
            told = found.id[7:]
            raise LoadError(messages.ENGINE_OTHER_IMAGE, engine=self._engine, name=name, told=told, exit_code=3)

    def _check_ctr(self, image: AboutImage) -> None:
        found = run(("ctr", "images", "ls", "-q"))
        names = set(found.stdout.decode(errors="replace").split())
        wanted = [name for name in image.names if names.isdisjoint((name, whole_name(name)))]
        if found.returncode or (image.names and len(wanted) == len(image.names)):
            raise LoadError(messages.ENGINE_NOT_THERE_IN_CTR, wanted=", ".join(wanted), exit_code=3)

    def _fail(self, code: int) -> None:
        text = self._said.end().decode(errors="replace").strip().splitlines()
        last = text[-1] if text else "no message"
        message = messages.ENGINE_LOAD_FAILED
        if self._engine == "docker" and last.endswith("/blobs/json: no such file or directory"):
            message = messages.ENGINE_NO_OCI_ARCHIVE
        elif self._engine == "docker" and is_podman_alone():
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
