"""What a user names on the command line, opened once and recognised by its content, not by its place."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from dibundle.cli import registries
from dibundle.cli.names import engine_of, path_of, save
from dibundle.errors import AbsentError, FileError, UsageError
from dibundle.files.compression import RATIO, RatioError
from dibundle.files.destination import Destination
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool, Stream
from dibundle.format.constants import MAGIC
from dibundle.format.reader import BundleReader, Readable
from dibundle.images.archive import Archive, from_fd
from dibundle.images.reader import read_images
from dibundle.sharing.wrap import find
from dibundle.sources import messages, parts
from dibundle.sources.detect import (
    Rereadable,
    Trust,
    check_signature,
    first_part_missing,
    is_bundle,
    is_named_so,
    open_other,
    read_bundle,
    remembered,
)
from dibundle.sources.engines import default_engine, told_with

_IMAGE = re.compile(r"(?:(?:docker|podman):(?://)?)?([^/\s]+|[^\s]+[:@][^/\s]+)")  # app, app:1, HOST/team/app:1
NO_BUNDLE = "give the .dib file too"
ONE_BUNDLE = "give them one at a time"


@dataclass(slots=True)
class Sources:
    """Opened arguments: bundles as (name, stream), and of files by name device, inode and size.

    ``trust``: what the header and the signature of every bundle were given to, before anything else of it was read or
    kept; None where signatures do not matter.
    ``placed`` has the archives by their places on the command line, which they are not opened in the order of.
    ``engines`` have not saved their images yet: each takes the sizes of the layers that will be read, or None for all.
    ``wrapped``: those of the archives that bundles came in.
    """

    trust: Trust | None = None
    placed: dict[int, Archive] = field(default_factory=dict)
    bundles: list[tuple[str, Rereadable]] = field(default_factory=list)
    identities: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    wrapped: list[Archive] = field(default_factory=list)
    engines: dict[int, Callable[[Collection[int] | None], Archive]] = field(default_factory=dict)

    @property
    def archives(self) -> list[Archive]:
        """The archives, in the order of the command line: it says which is the old one and which the new."""
        return [self.placed[place] for place in sorted(self.placed)]

    @property
    def plain_archives(self) -> list[Archive]:
        """The archives that no bundle came in."""
        return [archive for archive in self.archives if not any(archive is other for other in self.wrapped)]

    def ask_engines(self, sizes: Collection[int] | None = None) -> None:
        """Have the engines save, if they have not yet; their archives are added."""
        for place in sorted(self.engines):
            self.placed[place] = self.engines.pop(place)(sizes)

    def add_bundle(self, name: str, stream: Rereadable, size: int | None) -> None:
        """Add a bundle, whose signature is checked here and nowhere else."""
        if self.trust:
            check_signature(stream, name, self.trust)
        if size is not None:
            self.sizes[name] = size
        self.bundles.append((name, stream))

    def refuse_overwriting(self, destination: Destination) -> None:
        """Raise :class:`UsageError` where the output is one of the inputs, under whatever name."""
        for name, identity in self.identities.items():
            if identity == destination.identity:
                raise UsageError(messages.OUTPUT_IS_INPUT, name=destination.name, name_2=name)


class _Descriptor:
    """A byte stream over a descriptor, of which the first bytes have been read already."""

    def __init__(self, fd: int, name: str, head: bytes) -> None:
        self._fd = fd
        self._name = name
        self._head = head

    def read(self, size: int, /) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise FileError(messages.FILE_CANNOT_READ, name=self._name, reason=error.strerror) from error

    def give_back(self, data: bytes) -> None:
        """Take back the last bytes that were read."""
        self._head = data + self._head


@dataclass(slots=True)
class _Other:
    """A file that begins as no bundle does: its place and name on the command line, descriptor and first bytes."""

    place: int
    name: str
    fd: int
    head: bytes
    bundle_wanted: bool  # as it is named, or where it stands

    def open(self, stack: ExitStack, tmp: str | None, ratio: int | None) -> Archive:
        """Open the archive in it; may be tried again, with another ratio."""
        try:
            os.lseek(self.fd, -len(self.head), os.SEEK_CUR)
        except OSError:
            self.fd = _spooled(self.fd, self.name, self.head, stack, tmp)
        head, self.head = self.head, b""  # from here on the descriptor stands at its beginning
        opened = partial(_archive, self.fd, self.name, stack, tmp, ratio)
        return open_other(self.name, head, opened, wanted=self.bundle_wanted)


def open_sources(
    names: Sequence[str],
    stack: ExitStack,
    *,
    trust: Trust | None,
    tmp: str | None = None,
    platform: str | None = None,
    bundle_wanted: bool = True,
    bundle_first: bool = False,
) -> Sources:
    """Open every argument; ``-`` is stdin, and engines are asked for names such as ``docker-daemon:app:1``.

    Where there is a bundle the engines are asked by :func:`all_bundles`, as what it reads is known then.
    Where ``trust`` is given every bundle must pass it: first the bundles that are files or streams, then those in a
    registry. Only then are compressed archives unpacked; without any such bundle the one that holds a bundle is among
    them, and they are unpacked to ``RATIO`` times their size at most until its signature is checked, too.
    Raises :class:`FileError` and :class:`ArchiveError`. Where a ``bundle_wanted`` is not found, an empty file is taken
    for what is left of one. ``bundle_first``: the first argument has to be a bundle, or an image that holds one;
    :class:`BundleError` where it is no archive either.
    """
    if names.count("-") > 1:
        raise UsageError(messages.SOURCE_STDIN_TWICE)
    sources = Sources(trust and remembered(trust))
    given = list(enumerate(parts.firsts(names) if bundle_wanted else names))
    empty, others = _open_files(given, sources, stack, tmp, platform, bundle_wanted=bundle_wanted, first=bundle_first)
    if not trust:
        _open_others(others, sources, stack, tmp)
    for place, name in given:
        if registries.is_reference(name):
            only = bundle_wanted and bool(sources.placed or others)
            _fetch(place, name, sources, stack, tmp, platform, only_bundle=only)
    searched: set[int] = set()
    if trust:
        _find_wrapped(sources.archives, sources, stack, tmp)
        _open_others(others, sources, stack, tmp)
        searched = set(sources.placed)
    if not bundle_wanted or not sources.bundles:
        sources.ask_engines()
    if bundle_wanted:
        new = [sources.placed[place] for place in sorted(sources.placed) if place not in searched]
        _find_wrapped(new, sources, stack, tmp)
    _sort_out(empty, sources, stack, tmp, bundle_wanted=bundle_wanted)
    return sources


def _open_files(
    given: Sequence[tuple[int, str]],
    sources: Sources,
    stack: ExitStack,
    tmp: str | None,
    platform: str | None,
    *,
    bundle_wanted: bool,
    first: bool,
) -> tuple[list[tuple[int, str, int]], list[_Other]]:
    """Open files and stdin, and take the bundles among them; return what is empty, and the rest, not unpacked yet."""
    empty: list[tuple[int, str, int]] = []
    others: list[_Other] = []
    for place, name in given:
        if registries.is_reference(name):
            continue
        engine = engine_of(name)
        if engine:
            sources.engines[place] = partial(_saved, name, engine, stack, tmp, platform)
            continue
        shown, fd, head = _open_file(name, sources, stack)
        if is_bundle(head) and parts.is_first(name):
            reader = parts.PartsReader(name, stack)
            sources.add_bundle(shown, reader, reader.size)
        elif is_bundle(head):
            sources.add_bundle(shown, _Descriptor(fd, shown, head), None)
        elif not head and not stat.S_ISDIR(os.fstat(fd).st_mode):
            empty.append((place, shown, fd))
        else:
            wanted = bundle_wanted and ((first and not place) or is_named_so(name))
            others.append(_Other(place, shown, fd, head, wanted))
    return empty, others


def _open_file(name: str, sources: Sources, stack: ExitStack) -> tuple[str, int, bytes]:
    """Open a file or stdin and note what it is; return the name to show, the descriptor and the first bytes."""
    fd = 0 if name == "-" else _open(path_of(name))
    if fd:
        stack.callback(os.close, fd)
    shown = "stdin" if name == "-" else name
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        sources.identities[shown] = (status.st_dev, status.st_ino)
        sources.sizes[shown] = status.st_size - (os.lseek(fd, 0, os.SEEK_CUR))
    return shown, fd, _read_head(fd, shown)


def _saved(
    name: str,
    engine: tuple[str, str],
    stack: ExitStack,
    tmp: str | None,
    platform: str | None,
    sizes: Collection[int] | None,
) -> Archive:
    spool = save(*engine, stack, tmp=tmp, platform=platform, sizes=sizes)
    archive = _archive(spool.start(), name, stack, tmp)
    # docker says nothing of it; other platforms may be missing, but not all of them
    if not any(image.config and all(image.layers) for image in read_images(archive).images):
        raise FileError(messages.ENGINE_SAVED_WITHOUT_LAYERS, engine=engine[1])
    return archive


def _fetch(
    place: int,
    name: str,
    sources: Sources,
    stack: ExitStack,
    tmp: str | None,
    platform: str | None,
    *,
    only_bundle: bool,
) -> None:
    """Take what a registry has under a name."""
    spool, is_bundle = registries.open_reference(
        name, stack, tmp=tmp, platform=platform, only_bundle=only_bundle, trust=sources.trust
    )
    if is_bundle:
        sources.add_bundle(name, Stream(spool), spool.size)
    else:
        sources.placed[place] = _archive(spool.start(), name, stack, tmp)


def _sort_out(
    empty: Sequence[tuple[int, str, int]], sources: Sources, stack: ExitStack, tmp: str | None, *, bundle_wanted: bool
) -> None:
    """Take what is empty for a bundle where one is missing."""
    for place, shown, fd in empty:
        if bundle_wanted and not sources.bundles:
            sources.add_bundle(shown, _Descriptor(fd, shown, b""), None)
        else:
            sources.placed[place] = _archive(fd, shown, stack, tmp)


def _open_others(others: Sequence[_Other], sources: Sources, stack: ExitStack, tmp: str | None) -> None:
    """Open the archives among files, and with ``trust`` find the bundles in them.

    Where a signature is demanded, what may hold a bundle is unpacked within a ratio until a bundle was accepted. What
    goes beyond it is then a base, unless it is named as a bundle or stands where one is wanted.
    """
    waiting: list[tuple[_Other, RatioError]] = []
    for other in others:
        bounded = sources.trust and (other.bundle_wanted or not sources.bundles)
        try:
            _open_other(other, sources, stack, tmp, RATIO if bounded else None)
        except RatioError as error:
            if other.bundle_wanted:
                raise
            waiting.append((other, error))
    for other, refusal in waiting:
        if not sources.bundles:
            raise refusal
        _open_other(other, sources, stack, tmp, None)


def _open_other(other: _Other, sources: Sources, stack: ExitStack, tmp: str | None, ratio: int | None) -> None:
    sources.placed[other.place] = archive = other.open(stack, tmp, ratio)
    if sources.trust:
        _find_wrapped([archive], sources, stack, tmp)


def _find_wrapped(archives: Sequence[Archive], sources: Sources, stack: ExitStack, tmp: str | None) -> None:
    """Take the bundles out of archives that are wrapped bundles; their layers may be a base all the same."""
    for archive in archives:
        for name, content in find(archive, stack, tmp):
            sources.add_bundle(name, Stream(content), content.size)
            sources.wrapped.append(archive)


def open_archives(
    names: Sequence[str],
    stack: ExitStack,
    *,
    tmp: str | None = None,
    platform: str | None = None,
    hint: str | None = None,
) -> Sources:
    """Open arguments that must be archives; ``hint`` is for those who give a bundle, if there is a better one."""
    sources = open_sources(names, stack, trust=None, tmp=tmp, platform=platform, bundle_wanted=False)
    if sources.bundles:
        name = sources.bundles[0][0]
        make = shlex.join(["dib", "apply", "OLD.tar", "-" if name == "stdin" else name, "-o", "new.tar"])
        raise UsageError(
            messages.SOURCE_BUNDLE_NOT_ARCHIVE,
            name=name,
            hint=hint or f"give the archive that it was made from, or make the new one first: {make}",
        )
    return sources


def open_present(
    names: Sequence[str], stack: ExitStack, progress: Progress, *, tmp: str | None = None, platform: str | None = None
) -> Sources:
    """Open those archives that are there; the others are told of, with what may have been meant."""
    found = Sources()
    for place, name in enumerate(names):
        try:
            opened = open_archives([name], stack, tmp=tmp, platform=platform)
        except AbsentError as error:
            hint = f" ({told_with(default_engine(names, needed=False), error.hint)})" if error.hint else ""
            progress.note(f"passed over: {error.message}{hint}")
            continue
        found.placed[place] = opened.archives[0]
        found.identities |= opened.identities
    return found


def one_bundle(sources: Sources, *, hint: str | None = None, several: str = ONE_BUNDLE) -> BundleReader:
    """Return the one bundle among ``sources``, its head read and checked.

    ``hint`` is for those who give none, ``several`` for those who give more than one.
    """
    if len(sources.bundles) > 1:
        raise UsageError(messages.SOURCE_SEVERAL_BUNDLES, bundles_count=len(sources.bundles), hint=several)
    return all_bundles(sources, hint=hint)[0]


def in_place_of(name: str) -> str:
    """Return the hint for a command that takes a bundle alone, and got an archive."""
    return f"give the .dib file in place of {name}"


def one_stream(sources: Sources, *, hint: str | None = None) -> Readable:
    """Return the one bundle among ``sources`` as a stream, nothing of it read or checked; else as above."""
    if len(sources.bundles) != 1:
        what = f"{len(sources.bundles)} bundles" if sources.bundles else "no bundle"
        raise UsageError(messages.SOURCE_NOT_ONE_BUNDLE, subject=what, hint=None if sources.bundles else hint)
    return sources.bundles[0][1]


def all_bundles(sources: Sources, *, hint: str | None = NO_BUNDLE) -> list[BundleReader]:
    """Return the bundles among ``sources``, at least one, their heads read and checked; ``hint`` is for none."""
    if not sources.bundles:
        given = ", ".join(archive.name for archive in sources.archives) or "nothing"
        raise UsageError(messages.SOURCE_NO_BUNDLE, given=given, hint=hint)
    found = [read_bundle(stream, name, sources.sizes.get(name), sources.trust) for name, stream in sources.bundles]
    manifests = [bundle.manifest for bundle in found]
    sizes = {item.size for manifest in manifests for item in manifest.objects}
    sources.ask_engines(sizes | {form.size for manifest in manifests for form in manifest.forms})
    return found


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and parts.missing_first(name):
            raise first_part_missing(name) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        kind = AbsentError if isinstance(error, FileNotFoundError) else FileError
        raise kind(messages.FILE_CANNOT_OPEN, name=name, reason=reason, hint=_remedy(name, error)) from error


def _remedy(name: str, error: Exception) -> str | None:
    """Say what may have been meant by a name that is not that of a file."""
    if not isinstance(error, FileNotFoundError):
        return None
    if name.startswith(("http://", "https://")):
        return f"download it first: curl -fLO {shlex.quote(name)}"
    from difflib import get_close_matches

    folder, base = os.path.split(name)
    with contextlib.suppress(OSError):
        there = {item.lower(): item for item in os.listdir(folder or ".")}  # noqa: PTH208 - names as typed
        first = f"{base.lower()}.001"  # of a bundle in parts
        near = [first] if first in there else get_close_matches(base.lower(), there, 1, 0.8)
        if near:
            return f"there is {shlex.quote(os.path.join(folder, there[near[0]]))}"  # noqa: PTH118
    image = _IMAGE.fullmatch(name)
    if image and not re.search(r"\.(tar|dib)\b", name):
        return f"if it is the name of an image, give {shlex.quote('docker-daemon:' + image[1])}"
    return f"see what is there: ls -l {shlex.quote(folder or '.')}"


def _read_head(fd: int, name: str) -> bytes:
    """Read the bytes that tell a bundle from an archive; a regular file stays where it is."""
    head = b""
    try:
        while len(head) < len(MAGIC) and (piece := os.read(fd, len(MAGIC) - len(head))):
            head += piece
    except IsADirectoryError:
        return b""
    except OSError as error:
        raise FileError(messages.FILE_CANNOT_READ, name=name, reason=error.strerror) from error
    return head


def _archive(fd: int, name: str, stack: ExitStack, tmp: str | None, ratio: int | None = None) -> Archive:
    return stack.enter_context(from_fd(fd, name, spool_dir=tmp, ratio=ratio))


def _spooled(fd: int, name: str, head: bytes, stack: ExitStack, tmp: str | None) -> int:
    """Copy a pipe into a temporary file and return its descriptor, which stands at the beginning."""
    spool = Spool(tmp)
    stack.callback(spool.close)
    stream = _Descriptor(fd, name, head)
    while piece := stream.read(1 << 20):
        spool.write(piece)
    return spool.start()
