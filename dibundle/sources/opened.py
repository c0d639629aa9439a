"""Opened sources: archives and bundles, with their names, places and identities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dibundle.errors import BundleError, UsageError
from dibundle.format.constants import HEADER_SIZE, MAX_MANIFEST
from dibundle.format.header import Header
from dibundle.format.reader import BundleReader, Readable
from dibundle.images.archive import Archive
from dibundle.sources import messages
from dibundle.sources.access import SignatureCheck
from dibundle.sources.bundles import CheckSignature, Rereadable, check_signature, peek, read_bundle

Layers = Mapping[bytes, int]
"""Sizes in bytes of layers, by digest."""
BeforeSaving = Callable[[Sequence[BundleReader], Sequence[Archive]], object]
"""A function that gets bundles and archives (or placeholders), and raises an error if nothing can be rebuilt."""


class UnsavedImage(NamedTuple):
    """An image in an engine. Some or all layers of the image will be read.

    ``save`` returns the image's archive with the given layers (None: all layers). ``claim`` returns a placeholder for
    the archive. If the image is a missing candidate, both functions return None.
    """

    save: Callable[[Layers | None], Archive | None]
    claim: Callable[[Layers], Archive | None]


@dataclass(slots=True)
class OpenedSources:
    """The content of sources: archives, and bundles as tuples (name, stream).

    ``placed`` maps positions in the list of sources to archives, because archives are not opened in this order.
    ``engines`` are the images that engines have not saved yet. ``wrapped`` has the archives that contained bundles.
    ``within`` has the ``id`` of each stream from these archives. ``identities`` maps the identity of a file to the
    file's name. ``bundle_sizes`` has the known sizes of streams, by ``id``. The name is not the key, because several
    sources may have the same name: bundles in one archive, or stdin and a file called "stdin". ``spare_streams`` has
    the ``id`` of each stream with a bundle among the candidates. ``spare`` has these bundles after they are read.
    """

    signatures: SignatureCheck
    placed: dict[int, Archive] = field(default_factory=dict)
    bundles: list[tuple[str, Rereadable]] = field(default_factory=list)
    identities: dict[tuple[int, int], str] = field(default_factory=dict)
    wrapped: list[Archive] = field(default_factory=list)
    within: set[int] = field(default_factory=set)
    bundle_sizes: dict[int, int] = field(default_factory=dict)
    engines: dict[int, UnsavedImage] = field(default_factory=dict)
    spare_streams: set[int] = field(default_factory=set)
    spare: list[BundleReader] = field(default_factory=list)

    @property
    def check(self) -> CheckSignature | None:
        """The check of headers and signatures.

        Every bundle has passed this check. The check is None if signatures are not checked.
        """
        return self.signatures.required

    @property
    def archives(self) -> list[Archive]:
        """The archives, in the order of the sources.

        This order decides which archive is the base, and which is the target.
        """
        return [self.placed[place] for place in sorted(self.placed)]

    @property
    def plain_archives(self) -> list[Archive]:
        """The archives that contained no bundle."""
        return [archive for archive in self.archives if not any(archive is other for other in self.wrapped)]

    def ask_engines(self, layers: Layers | None = None) -> None:
        """Let the engines save the images that are not saved yet, and add the saved archives."""
        for place in sorted(self.engines):
            saved = self.engines.pop(place).save(layers)
            if saved is not None:
                self.placed[place] = saved

    @property
    def has_bundle(self) -> bool:
        """Whether there is a bundle that is not a spare bundle."""
        return len(self.bundles) > len(self.spare_streams)

    def add_bundle(
        self, name: str, stream: Rereadable, size: int | None, file: str | None = None, *, is_spare: bool = False
    ) -> None:
        """Add a bundle, with its ``file`` if it has one. Only this method checks the bundle's signature."""
        if is_spare:
            self.spare_streams.add(id(stream))
        check = self.check if file is None else self.signatures.beside(file)
        if check:
            check_signature(stream, name, check)
        if size is not None:
            self.bundle_sizes[id(stream)] = size
        self.bundles.append((name, stream))

    def refuse_overwriting(self, name: str, identity: tuple[int, int] | None) -> None:
        """Raise :class:`UsageError` if the output is the same file as an input, even if their names differ."""
        if identity in self.identities:
            raise UsageError(messages.OUTPUT_IS_INPUT, name=name, source=self.identities[identity])

    def read_bundles(self, before_saving: BeforeSaving | None = None) -> list[BundleReader]:
        """Read and check the bundles up to their manifests. Return these bundles (at least one).

        Then let engines save the needed images.

        Spare bundles are put into :attr:`spare`. ``before_saving`` is called before an engine saves.
        """
        if not self.has_bundle:
            given = ", ".join(archive.name for archive in self.archives) or "nothing"
            raise UsageError(messages.SOURCE_NO_BUNDLE, given=given)
        found: list[BundleReader] = []
        for name, stream in self._different_bundles():
            bundle = read_bundle(stream, name, self.bundle_sizes.get(id(stream)), self.check)
            (self.spare if id(stream) in self.spare_streams else found).append(bundle)
        manifests = [bundle.manifest for bundle in (*found, *self.spare)]
        layers = {item.digest: item.size for manifest in manifests for item in manifest.objects}
        layers |= {form.digest: form.size for manifest in manifests for form in manifest.forms}
        if before_saving and self.engines:
            claimed = {place: image.claim(layers) for place, image in self.engines.items()}
            there = self.placed | {place: archive for place, archive in claimed.items() if archive}
            before_saving(found, [there[place] for place in sorted(there)])
        self.ask_engines(layers)
        return found

    def _different_bundles(self) -> Iterator[tuple[str, Rereadable]]:
        """Yield the bundles.

        If several bundles have the same header, yield only one of them, because the header determines the rest.
        Archives may contain any number of bundles. Raises :class:`BundleError` if all manifests together exceed the
        limit for a single manifest.
        """
        seen: set[bytes] = set()
        left = MAX_MANIFEST
        for name, stream in sorted(self.bundles, key=lambda item: id(item[1]) in self.spare_streams):
            head = peek(stream, HEADER_SIZE)
            if head in seen:
                continue
            seen.add(head)
            if id(stream) in self.within:
                with suppress(BundleError):  # errors in the header are reported when the bundle is read
                    left -= Header.decode(head).size
                if left < 0:
                    raise BundleError(messages.LIMIT_WRAPPED_MANIFESTS, name=name, max_manifest=MAX_MANIFEST >> 20)
            yield name, stream

    def read_bundle(self) -> BundleReader:
        """Read the only bundle in the same way as :meth:`read_bundles`, and return it."""
        if len(self.bundles) > 1:
            raise UsageError(messages.SOURCE_SEVERAL_BUNDLES, bundles_count=len(self.bundles))
        return self.read_bundles()[0]

    def bundle_stream(self) -> Readable:
        """Return the only bundle as a stream. So far, only its signature was read and checked."""
        if len(self.bundles) > 1:
            raise UsageError(messages.SOURCE_SEVERAL_BUNDLES, bundles_count=len(self.bundles))
        if not self.bundles:
            given = ", ".join(archive.name for archive in self.archives) or "nothing"
            raise UsageError(messages.SOURCE_NO_BUNDLE, given=given)
        return self.bundles[0][1]
