"""Opening of sources: files, folders, parts, streams, engines and registries.

Bundles are detected by content, not by position.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from dibundle.errors import AbsentError, BundleError, DibError, FileError, RegistryError, UsageError, shell_words
from dibundle.files.compression import RATIO, RatioError
from dibundle.files.context import Context
from dibundle.files.readat import Stream
from dibundle.format.constants import HEADER_SIZE, MAGIC
from dibundle.format.reader import Readable
from dibundle.images.archive import Archive, from_fd
from dibundle.images.reader import read_images
from dibundle.sources import messages, parts
from dibundle.sources.access import Access, SignatureCheck
from dibundle.sources.bundles import Reread, Rereadable, peek
from dibundle.sources.detect import (
    STDIN,
    STREAM,
    first_part_missing,
    firsts,
    is_bundle,
    is_named_so,
    open_other,
    read_head,
    read_some,
)
from dibundle.sources.meant import meant_by
from dibundle.sources.names import engine_of, is_reference, path_of
from dibundle.sources.opened import Layers, OpenedSources, UnsavedImage
from dibundle.sources.wrapped import find

_CHUNK: Final = 1 << 20
# maximum wrapped bundles in an archive; equal bundles count several times, because each is unpacked
MAX_COPIES: Final = 128
# maximum different bundles in an archive, because the limits of dib.md, 10.1, apply to each bundle
MAX_WRAPPED: Final = 16

_BESIDE: Final = 64 << 10  # approximate bytes of documents and headers that an engine saves in addition to layers
Source = str | os.PathLike[str] | Readable
"""A name (a path; ``-`` for stdin, ``docker-daemon:app:1``, ``docker://HOST/app:1``, ...), a path, or a binary file.

A binary file is read from its current position.
"""


def several(sources: Source | Iterable[Source] | None) -> list[Source]:
    """Return the given sources (one source, several sources or None) as a list."""
    if sources is None:
        return []
    # test for a single source before iterating, because a file is iterable too
    is_one = isinstance(sources, str | bytes | os.PathLike) or hasattr(sources, "read")
    return [cast("Source", sources)] if is_one else list(cast("Iterable[Source]", sources))


def open_sources(
    sources: Sequence[Source],
    access: Access,
    context: Context,
    *,
    bundle_first: bool = False,
    candidates: Sequence[Source] = (),
    only_claims: bool = False,
) -> OpenedSources:
    """Open sources. At least one source should be a bundle.

    ``candidates`` are archives that may serve as a base, or bundles that rebuild a base. Missing candidates are
    skipped. With ``only_claims``, engines only list their layers, and save nothing.

    Engines save images only in :meth:`OpenedSources.read_bundles`, when it is known which layers the bundles read. With
    signers, every bundle is checked. Bundles in files or streams are checked before bundles in a registry. Compressed
    archives are unpacked only after these checks. If no source is a bundle, an archive must contain the bundle. Until
    the signature of that bundle is checked, archives are unpacked to at most ``RATIO`` times their size. With
    ``bundle_first``, the first source must be a bundle, or an image that contains a bundle.

    Raises :class:`FileError` and :class:`ArchiveError`. Raises :class:`BundleError` if a source should be a bundle, but
    is not.
    """
    sources, candidates = _with_first_parts(sources), _with_first_parts(candidates)
    opening = _Opening([*sources, *candidates], access, context, bundle_wanted=True, candidates=len(candidates))
    opening.only_claims = only_claims
    opening.open_files(first=bundle_first)
    opened = opening.opened
    if not opened.check:
        opening.open_waiting()
    opening.fetch()
    # search archives only if no bundle is given; otherwise, the author of a base could choose the rebuilt image
    if not opened.has_bundle:
        opening.searched = 1 if bundle_first else len(sources)
    searched: set[int] = set()
    if opened.check:
        opening.find_wrapped(opened.placed)
        opening.open_waiting()
        searched = set(opened.placed)
    if not opened.has_bundle:
        opened.ask_engines()
    opening.find_wrapped(opened.placed.keys() - searched)
    opening.open_empty()
    return opened


def open_archives(sources: Sequence[Source], access: Access, context: Context) -> OpenedSources:
    """Open sources that must be archives. Raise :class:`UsageError` for a bundle."""
    opening = _Opening(sources, access, context, bundle_wanted=False)
    opening.open_files()
    opening.open_waiting()
    opening.fetch()
    opened = opening.opened
    opened.ask_engines()
    opening.open_empty()
    if opened.bundles:
        name = opened.bundles[0][0]
        quoted = "-" if name == STDIN else shell_words(name)
        raise UsageError(messages.SOURCE_BUNDLE_NOT_ARCHIVE, name=name, quoted=quoted)
    return opened


def open_present(sources: Sequence[Source], access: Access, context: Context) -> OpenedSources:
    """Open the archives that exist. For each missing archive, add a note about what the user likely intended."""
    found = OpenedSources(SignatureCheck())
    names = [source for source in sources if isinstance(source, str)]
    for place, source in enumerate(sources):
        try:
            opened = open_archives([source], access, context)
        except AbsentError as error:
            _note_absent(error, names, context)
            continue
        found.placed[place] = opened.archives[0]
        found.identities |= opened.identities
    return found


def _note_absent(error: DibError, names: Sequence[str], context: Context) -> None:
    from dibundle.sources.engines import default_engine, words_for

    words = words_for(default_engine(names, needed=False))
    hint = f" ({error.advice.render(words)})" if error.advice else ""
    context.progress.note(f"skipped: {error.message}{hint}")


def _claimed(name: str, engine: tuple[str, str], layers: Layers | None) -> Archive:
    """Return a placeholder for an engine's archive. The placeholder has the layers that would be read."""
    from dibundle.images.stand_in import stand_in
    from dibundle.sources.engines import saved_layers

    image_id, diff_ids = saved_layers(*engine)
    wanted = {diff_id: layers[diff_id] for diff_id in diff_ids if diff_id in layers} if layers else {}
    return stand_in(name, wanted, size=sum(wanted.values()) + _BESIDE, image_id=image_id, diff_ids=diff_ids)


class _Opening:
    """The steps of opening sources. The last sources are ``candidates``. The results are in ``opened``."""

    def __init__(
        self,
        sources: Sequence[Source],
        access: Access,
        context: Context,
        *,
        bundle_wanted: bool,
        candidates: int = 0,
    ) -> None:
        if sum(isinstance(source, str) and source == "-" for source in sources) > 1:
            raise UsageError(messages.SOURCE_STDIN_TWICE)
        self.opened = OpenedSources(access.signature_check(context.tmp) if bundle_wanted else SignatureCheck())
        self._sources = list(enumerate(sources))
        self._first_candidate = len(sources) - candidates
        self._access = access
        self._context = context
        self._bundle_wanted = bundle_wanted
        self.only_claims = False
        self.searched = 0  # number of sources that are searched for bundles, counted from the first source
        self._empty: list[tuple[int, str, int]] = []
        self._waiting: list[_Other] = []

    def open_files(self, *, first: bool = False) -> None:
        """Open files and streams, and add the bundles among them. Files that are not bundles are not unpacked yet."""
        for place, source in self._sources:
            if isinstance(source, str) and is_reference(source):
                continue
            engine = engine_of(source) if isinstance(source, str) else None
            if engine:
                claim = partial(self._of_engine, place, partial(_claimed, str(source), engine))
                save = partial(self._of_engine, place, partial(self._save, str(source), engine))
                self.opened.engines[place] = UnsavedImage(claim if self.only_claims else save, claim)
            elif isinstance(source, str | os.PathLike):
                with self._if_there(place):
                    self._open_file(place, source, wanted=self._bundle_wanted and first and not place)
            else:
                self._open_stream(place, source, wanted=self._bundle_wanted and first and not place)

    @contextmanager
    def _if_there(self, place: int) -> Iterator[None]:
        """Skip a missing candidate. Other sources must exist."""
        try:
            yield
        except (AbsentError, RegistryError) as error:
            self._pass_over(place, error)

    def _pass_over(self, place: int, error: DibError) -> None:
        """If ``error`` means that a candidate is missing, only add a note. Otherwise, raise ``error``."""
        is_absent = isinstance(error, AbsentError) or error.code == messages.REGISTRY_NOT_FOUND.code
        if not is_absent or place < self._first_candidate:
            raise error
        _note_absent(error, [source for _, source in self._sources if isinstance(source, str)], self._context)

    def _of_engine(self, place: int, ask: Callable[[Layers | None], Archive], layers: Layers | None) -> Archive | None:
        try:
            return ask(layers)
        except AbsentError as error:
            self._pass_over(place, error)
            return None

    def _add_bundle(self, place: int, name: str, stream: Rereadable, size: int | None, file: str | None = None) -> None:
        self.opened.add_bundle(name, stream, size, file, is_spare=place >= self._first_candidate)

    def _open_file(self, place: int, source: str | os.PathLike[str], *, wanted: bool) -> None:
        name, fd, size = self._descriptor(source)
        head = read_head(fd, name)
        if is_bundle(head) and parts.is_first(name) and size is not None:
            reader = parts.PartsReader(name, self._context)
            self.opened.identities.update(zip(reader.identities, reader.names, strict=True))
            self._add_bundle(place, name, reader, reader.size, name)
        elif is_bundle(head):
            file = None if name == STDIN or size is None else path_of(name)
            self._add_bundle(place, name, Reread(partial(read_some, fd, name), head), size, file)
        elif not head and not stat.S_ISDIR(os.fstat(fd).st_mode):
            self._empty.append((place, name, fd))
        else:
            wanted = wanted or (self._bundle_wanted and is_named_so(name))
            self._waiting.append(_Other(place, name, fd, head, wanted))

    def _descriptor(self, source: str | os.PathLike[str]) -> tuple[str, int, int | None]:
        """Return the name, descriptor and number of remaining bytes (if known) of a file or stdin.

        Record the identity of the file.
        """
        if isinstance(source, str) and source == "-":
            name, fd = STDIN, 0
        else:
            name = os.fspath(source)
            fd = _open(path_of(name) if isinstance(source, str) else name)
            self._context.defer(partial(os.close, fd))
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return name, fd, None
        self.opened.identities[status.st_dev, status.st_ino] = name
        return name, fd, status.st_size - os.lseek(fd, 0, os.SEEK_CUR)

    def _open_stream(self, place: int, source: Readable, *, wanted: bool) -> None:
        """Add the bundle or archive in a binary file that the caller has opened."""
        if not hasattr(source, "read"):
            raise TypeError(f"a source is a path or a binary file, not {type(source).__name__}")
        head = source.read(len(MAGIC))
        if not isinstance(head, bytes):
            raise TypeError("a source that is a file has to be open in binary mode")
        if not head:
            raise UsageError(messages.SOURCE_EMPTY_STREAM)
        stream = Reread(source.read, head)
        if is_bundle(head):
            self._add_bundle(place, STREAM, stream, None)
            return
        self._waiting.append(_Other(place, STREAM, self._spooled(stream), head, wanted, position=0))

    def _spooled(self, stream: Readable) -> int:
        """Copy a stream into a temporary file. Return the file's descriptor, positioned at the beginning."""
        spool = self._context.spool()
        while piece := stream.read(_CHUNK):
            spool.write(piece)
        return spool.start()

    def _save(self, name: str, engine: tuple[str, str], layers: Layers | None) -> Archive:
        from dibundle.sources.engines import save

        sizes = None if layers is None else set(layers.values())
        spool = save(*engine, self._context, platform=self._access.platform, sizes=sizes)
        archive = self._archive(spool.start(), name)
        # check for missing layers, which docker does not report; at least one platform of an image must be complete
        if not any(image.config and all(image.layers) for image in read_images(archive).images):
            raise FileError(messages.ENGINE_SAVED_WITHOUT_LAYERS, engine_=engine[1])
        return archive

    def _archive(self, fd: int, name: str, ratio: int | None = None) -> Archive:
        return self._context.enter(from_fd(fd, name, spool_dir=self._context.tmp, ratio=ratio))

    def fetch(self) -> None:
        """Fetch the sources that are in registries."""
        for place, source in self._sources:
            if isinstance(source, str) and is_reference(source):
                from dibundle.sources.registry.opening import open_reference  # needs urllib3

                with self._if_there(place):
                    spool, found = open_reference(
                        source,
                        self._access,
                        self._context,
                        only_bundle=self._bundle_wanted
                        and bool(self.opened.placed or self._waiting or self.opened.engines),
                        check=self.opened.check,
                    )
                    if found:
                        self._add_bundle(place, source, Stream(spool), spool.size)
                    else:
                        self.opened.placed[place] = self._archive(spool.start(), source)

    def open_waiting(self) -> None:
        """Open the archives among files. With signers, also find the bundles in these archives.

        If a signature is required, a file that may contain a bundle is unpacked to at most a fixed multiple of its
        size. This limit ends when a bundle is accepted. A file that exceeds this limit is used as a base, unless its
        name or place requires a bundle.
        """
        refused: list[tuple[_Other, RatioError]] = []
        for other in self._waiting:
            bounded = self.opened.check and (other.bundle_wanted or not self.opened.has_bundle)
            try:
                self._open_other(other, RATIO if bounded else None)
            except RatioError as error:
                if other.bundle_wanted:
                    raise
                refused.append((other, error))
        for other, refusal in refused:
            if not self.opened.has_bundle:
                raise refusal
            self._open_other(other, None)

    def _open_other(self, other: _Other, ratio: int | None) -> None:
        fd = other.rewound()
        if fd is None:
            fd = self._spooled(Reread(partial(read_some, other.fd, other.name), other.head))
            other.fd, other.position = fd, 0
        opened = partial(self._archive, fd, other.name, ratio)
        archive = open_other(other.name, other.head, opened, wanted=other.bundle_wanted)
        self.opened.placed[other.place] = archive
        if self.opened.check:
            self.find_wrapped([other.place])

    def find_wrapped(self, places: Iterable[int]) -> None:
        """Add the wrapped bundles of one archive. The layers of this archive may serve as a base.

        Refuse a second archive with bundles.
        """
        for place in sorted(places):
            archive = self.opened.placed[place]
            if place >= self.searched:
                continue
            headers: set[bytes] = set()
            for number, (name, content) in enumerate(find(archive, self._context)):
                stream = Stream(content)
                headers.add(peek(stream, HEADER_SIZE))
                if len(headers) > MAX_WRAPPED or number >= MAX_COPIES:
                    most = {"max_wrapped": MAX_WRAPPED, "max_copies": MAX_COPIES}
                    raise BundleError(messages.LIMIT_WRAPPED_BUNDLES, name=archive.name, **most)
                for other in self.opened.wrapped:
                    if other is not archive:
                        raise UsageError(messages.WRAPPED_SEVERAL_ARCHIVES, name=other.name, other=archive.name)
                self.opened.add_bundle(name, stream, content.size)
                self.opened.within.add(id(stream))
                self.opened.wrapped.append(archive)
                archive.carries = True

    def open_empty(self) -> None:
        """If a bundle is missing, treat an empty file as a truncated bundle."""
        for place, name, fd in self._empty:
            if self._bundle_wanted and not self.opened.has_bundle:
                self.opened.add_bundle(name, Reread(partial(read_some, fd, name), b""), None)
            else:
                self.opened.placed[place] = self._archive(fd, name)


@dataclass(slots=True)
class _Other:
    """A file that does not begin like a bundle: its place, name and descriptor, and the first bytes that were read."""

    place: int
    name: str
    fd: int
    head: bytes
    bundle_wanted: bool  # whether the file's name or place requires a bundle
    position: int | None = None  # offset of the file's beginning, if the file can be read again

    def rewound(self) -> int | None:
        """Return the descriptor, positioned at the beginning. Return None if the file is a pipe."""
        try:
            if self.position is None:
                self.position = os.lseek(self.fd, -len(self.head), os.SEEK_CUR)
            else:
                os.lseek(self.fd, self.position, os.SEEK_SET)
        except OSError:
            return None
        return self.fd


def _with_first_parts(sources: Sequence[Source]) -> list[Source]:
    """Return the sources, with streams at the end. For a bundle in parts, return only the first part."""
    named = {os.fspath(source): source for source in sources if isinstance(source, str | os.PathLike)}
    names = [os.fspath(source) for source in sources if isinstance(source, str | os.PathLike)]
    streams = [source for source in sources if not isinstance(source, str | os.PathLike)]
    return [*(named.get(name, name) for name in firsts(names)), *streams]


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            if parts.missing_first(name):
                raise first_part_missing(name) from error
            raise meant_by(name, error) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(messages.FILE_CANNOT_OPEN, name=name, reason=reason) from error
