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

from dibundle import parts
from dibundle.archive.opener import Archive, from_fd
from dibundle.archive.readat import Spool, Stream
from dibundle.bundle.constants import MAGIC
from dibundle.bundle.reader import BundleReader, Readable
from dibundle.cli import registries
from dibundle.cli.names import DISCARDED, engine_of, path_of, save
from dibundle.destination import Destination
from dibundle.engine import default_engine, told_with
from dibundle.errors import AbsentError, FileError, UsageError
from dibundle.image.reader import read_images
from dibundle.opening import first_part_missing, is_bundle, is_named_so, open_other, read_bundle
from dibundle.progress import Progress
from dibundle.wrap import find

_IMAGE = re.compile(r"(?:(?:docker|podman):(?://)?)?([^/\s]+|[^\s]+[:@][^/\s]+)")  # app, app:1, HOST/team/app:1
NO_BUNDLE = "give the .dib file too"
ONE_BUNDLE = "give them one at a time"
TrustCheck = Callable[[bytes, bytes], None]


@dataclass(slots=True)
class Sources:
    """Opened arguments: bundles as (name, stream), and of files by name device, inode and size.

    ``placed`` has the archives by their places on the command line, which they are not opened in the order of.
    ``engines`` have not saved their images yet: each takes the sizes of the layers that will be read, or None for all.
    """

    placed: dict[int, Archive] = field(default_factory=dict)
    bundles: list[tuple[str, Readable]] = field(default_factory=list)
    identities: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    engines: dict[int, Callable[[Collection[int] | None], Archive]] = field(default_factory=dict)

    @property
    def archives(self) -> list[Archive]:
        """The archives, in the order of the command line: it says which is the old one and which the new."""
        return [self.placed[place] for place in sorted(self.placed)]

    def ask_engines(self, sizes: Collection[int] | None = None) -> None:
        """Have the engines save, if they have not yet; their archives are added."""
        for place in sorted(self.engines):
            self.placed[place] = self.engines.pop(place)(sizes)

    def refuse_overwriting(self, destination: Destination) -> None:
        """Raise :class:`UsageError` where the output is one of the inputs, under whatever name."""
        for name, identity in self.identities.items():
            if identity == destination.identity:
                raise UsageError(
                    f"{destination.name} is both input ({name}) and output", hint="name another file for the output"
                )


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
            raise FileError(f"cannot read {self._name}: {error.strerror}") from error


def open_sources(
    names: Sequence[str],
    stack: ExitStack,
    *,
    tmp: str | None = None,
    platform: str | None = None,
    bundle_wanted: bool = True,
    bundle_first: bool = False,
) -> Sources:
    """Open every argument; ``-`` is stdin, and engines are asked for names such as ``docker-daemon:app:1``.

    Where there is a bundle the engines are asked by :func:`all_bundles`, as what it reads is known then.
    Raises :class:`FileError` and :class:`ArchiveError`. Where a ``bundle_wanted`` is not found, an empty file is taken
    for what is left of one. ``bundle_first``: the first argument has to be a bundle, or an image that holds one;
    :class:`BundleError` where it is no archive either.
    """
    if names.count("-") > 1:
        raise UsageError("stdin can be given once", hint="save one of the two into a file")
    sources = Sources()
    empty: list[tuple[int, str, int]] = []
    given = list(enumerate(parts.firsts(names) if bundle_wanted else names))
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
            sources.sizes[shown] = reader.size
            sources.bundles.append((shown, reader))
        elif is_bundle(head):
            sources.bundles.append((shown, _Descriptor(fd, shown, head)))
        elif not head and not stat.S_ISDIR(os.fstat(fd).st_mode):
            empty.append((place, shown, fd))
        else:
            wanted = bundle_wanted and ((bundle_first and not place) or is_named_so(name))
            opened = partial(_archive, fd, shown, head, stack, tmp)
            sources.placed[place] = open_other(shown, head, opened, wanted=wanted)
    for place, name in given:
        if registries.is_reference(name):
            _fetch(place, name, sources, stack, tmp, platform, bundle_wanted=bundle_wanted)
    if not bundle_wanted or not sources.bundles:
        sources.ask_engines()
    if bundle_wanted:
        _find_wrapped(sources, stack, tmp)
    _sort_out(empty, sources, stack, tmp, bundle_wanted=bundle_wanted)
    return sources


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
    archive = _archive(spool.start(), name, b"", stack, tmp)
    # docker says nothing of it; other platforms may be missing, but not all of them
    if not any(image.config and all(image.layers) for image in read_images(archive).images):
        raise FileError(f"{engine[1]} was saved without its layers", hint=DISCARDED)
    return archive


def _fetch(
    place: int,
    name: str,
    sources: Sources,
    stack: ExitStack,
    tmp: str | None,
    platform: str | None,
    *,
    bundle_wanted: bool,
) -> None:
    """Take what a registry has under a name."""
    only = bundle_wanted and bool(sources.placed)
    spool, is_bundle = registries.open_reference(name, stack, tmp=tmp, platform=platform, only_bundle=only)
    if is_bundle:
        sources.sizes[name] = spool.size
        sources.bundles.append((name, Stream(spool)))
    else:
        sources.placed[place] = _archive(spool.start(), name, b"", stack, tmp)


def _sort_out(
    empty: Sequence[tuple[int, str, int]], sources: Sources, stack: ExitStack, tmp: str | None, *, bundle_wanted: bool
) -> None:
    """Take what is empty for a bundle where one is missing."""
    for place, shown, fd in empty:
        if bundle_wanted and not sources.bundles:
            sources.bundles.append((shown, _Descriptor(fd, shown, b"")))
        else:
            sources.placed[place] = _archive(fd, shown, b"", stack, tmp)


def _find_wrapped(sources: Sources, stack: ExitStack, tmp: str | None) -> None:
    """Take the bundles out of archives that are wrapped bundles; their layers may be a base all the same."""
    for archive in sources.archives:
        for name, content in find(archive, stack, tmp):
            sources.sizes[name] = content.size
            sources.bundles.append((name, Stream(content)))


def open_archives(
    names: Sequence[str],
    stack: ExitStack,
    *,
    tmp: str | None = None,
    platform: str | None = None,
    hint: str | None = None,
) -> Sources:
    """Open arguments that must be archives; ``hint`` is for those who give a bundle, if there is a better one."""
    sources = open_sources(names, stack, tmp=tmp, platform=platform, bundle_wanted=False)
    if sources.bundles:
        name = sources.bundles[0][0]
        make = shlex.join(["dib", "apply", "OLD.tar", "-" if name == "stdin" else name, "-o", "new.tar"])
        raise UsageError(
            f"{name} is a bundle, an image archive is wanted here",
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


def one_bundle(
    sources: Sources, trust: TrustCheck | None = None, *, hint: str | None = None, several: str = ONE_BUNDLE
) -> BundleReader:
    """Return the one bundle among ``sources``, its head read and checked.

    ``hint`` is for those who give none, ``several`` for those who give more than one.
    """
    if len(sources.bundles) > 1:
        raise UsageError(f"{len(sources.bundles)} bundles given, one is wanted here", hint=several)
    return all_bundles(sources, trust, hint=hint)[0]


def in_place_of(name: str) -> str:
    """Return the hint for a command that takes a bundle alone, and got an archive."""
    return f"give the .dib file in place of {name}"


def one_stream(sources: Sources, *, hint: str | None = None) -> Readable:
    """Return the one bundle among ``sources`` as a stream, nothing of it read or checked; else as above."""
    if len(sources.bundles) != 1:
        what = f"{len(sources.bundles)} bundles" if sources.bundles else "no bundle"
        raise UsageError(f"{what} found, one is wanted here", hint=None if sources.bundles else hint)
    return sources.bundles[0][1]


def all_bundles(
    sources: Sources, trust: TrustCheck | None = None, *, hint: str | None = NO_BUNDLE
) -> list[BundleReader]:
    """Return the bundles among ``sources``, at least one, their heads read and checked.

    ``trust`` gets each one's header and signature before anything else of it is looked at; ``hint`` is for none.
    """
    if not sources.bundles:
        given = ", ".join(archive.name for archive in sources.archives) or "nothing"
        raise UsageError(f"no bundle among the arguments ({given})", hint=hint)
    found = [read_bundle(stream, name, sources.sizes.get(name), trust) for name, stream in sources.bundles]
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
        raise kind(f"cannot open {name}: {reason}", hint=_remedy(name, error)) from error


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
            return f"there is {os.path.join(folder, there[near[0]])}"  # noqa: PTH118
    image = _IMAGE.fullmatch(name)
    if image and not re.search(r"\.(tar|dib)\b", name):
        return f"if it is the name of an image, give docker-daemon:{image[1]}"
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
        raise FileError(f"cannot read {name}: {error.strerror}") from error
    return head


def _archive(fd: int, name: str, head: bytes, stack: ExitStack, tmp: str | None) -> Archive:
    try:
        os.lseek(fd, -len(head), os.SEEK_CUR)
    except OSError:
        return stack.enter_context(from_fd(_spooled(fd, name, head, stack, tmp), name, spool_dir=tmp))
    return stack.enter_context(from_fd(fd, name, spool_dir=tmp))


def _spooled(fd: int, name: str, head: bytes, stack: ExitStack, tmp: str | None) -> int:
    """Copy a pipe into a temporary file and return its descriptor, which stands at the beginning."""
    spool = Spool(tmp)
    stack.callback(spool.close)
    stream = _Descriptor(fd, name, head)
    while piece := stream.read(1 << 20):
        spool.write(piece)
    return spool.start()
