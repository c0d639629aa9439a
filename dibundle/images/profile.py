"""The strict profile (spec/profile.md): archives in which every reader finds the same images.

Programs that load images read tar and JSON in different ways. The programs disagree on three questions: which of two
members with the same name is used, where a link leads, and whether the case of keys matters. :class:`Judge` does not
try to predict what these programs do. :class:`Judge` accepts only unambiguous archives. For all other archives,
:class:`Judge` raises ``ArchiveError`` with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.files import compression, digest
from dibundle.files.readat import ReadAt, copy_chunks
from dibundle.images import messages, strict
from dibundle.images.strict import Descriptor, DockerEntry, IndexDocument, ManifestDocument, StrictConfig
from dibundle.images.tar.plain import FILE, FOLDER, HARD_LINK, LINK, MAX_MEMBERS, PlainMember, members

MAX_DOCUMENT: Final = 4 << 20
"""The maximum size of a document in bytes. A parsed document takes up to thirty times as much memory."""
MAX_DOCUMENTS: Final = 64 << 20
"""The maximum number of bytes of all documents.

A document counts once for each reference, because an index may refer to it many times.
"""
MAX_DEPTH: Final = 2
"""The maximum number of nested indexes below index.json."""
MAX_EXPANSION: Final = 1100
"""The maximum number of content bytes per byte of a compressed layer. gzip reaches 1,032."""
MAX_EXCESS: Final = 4 << 30
"""The maximum bytes of all layers above ``MAX_EXPANSION`` times their sizes. zstd compresses zeros 30,000-fold."""
_ANY: Final = "any"

_FILES: Final = frozenset(("manifest.json", "index.json", "oci-layout", "repositories"))
_DOCUMENTS: Final = _FILES | {"blobs", "blobs/sha256"}
"""Names that programs look for.

If a disk ignores case, programs also find these names in other spellings after extraction.
"""
_SAME_HOSTS: Final = ("docker.io/", "index.docker.io/", "localhost/")
"""Prefixes that engines add to a name without a registry. podman adds the last prefix."""
_LEGACY: Final = re.compile(r"(?:repositories|[^/]+/(?:json|layer\.tar|VERSION))")


@dataclass(frozen=True, slots=True)
class ArchiveImage:
    """An image that a document refers to.

    The image has the config's digest and, if there is a manifest, the manifest's digest. ``has_instructions`` is true
    if anything in the manifest, except digests and sizes, may change what programs do.
    """

    where: str
    config: bytes
    manifest: bytes | None
    names: tuple[str, ...]
    has_instructions: bool = False


class Judge:
    """A check of an archive. The documents are checked first, then the layers.

    ``known`` has the SHA-256 of ranges (start, length) that are already checked. Without ``hashed``, only the documents
    are checked, and layers may be missing. All targets of a bundle share ``pool``.
    """

    def __init__(
        self,
        source: ReadAt,
        known: Mapping[tuple[int, int], bytes] | None = None,
        *,
        hashed: bool = True,
        pool: Pool | None = None,
    ) -> None:
        self._source = source
        self._hashed = hashed
        self._left = MAX_DOCUMENTS
        self._pool = pool or Pool()
        self._read: set[str] = set()
        self._known = known or {}
        self._unhashed: list[tuple[list[str], StrictConfig, str, tuple[str | None, ...]]] = []
        self._members: dict[str, PlainMember] = {}
        self._digests: dict[str, bytes] = {}
        self._layers: dict[str, tuple[str | None, bytes]] = {}

    def images(self) -> list[ArchiveImage]:
        """Return the images. Raise ``ArchiveError`` with the reason if any reader might find other images.

        This method hashes the configs and manifests. The layers are hashed by :meth:`check_layers`.
        """
        self._read_members()
        found: list[ArchiveImage] = []
        if "manifest.json" in self._members:
            found += self._docker(strict.docker_entries(self._document("manifest.json"), "manifest.json"))
        elif any(_LEGACY.fullmatch(name) for name in self._members):
            raise ArchiveError(messages.PROFILE_LEGACY)
        has_layout, has_index = "oci-layout" in self._members, "index.json" in self._members
        if has_layout != has_index:
            raise ArchiveError(messages.PROFILE_HALF_LAYOUT)
        if has_index:
            layout = strict.read_object(
                strict.parse(self._document("oci-layout"), "oci-layout"), ("imageLayoutVersion",), "oci-layout"
            )
            if layout != {"imageLayoutVersion": "1.0.0"}:
                raise ArchiveError(messages.PROFILE_LAYOUT_VERSION)
            found += self._layout(found)
        if not found:
            raise ArchiveError(messages.ARCHIVE_NO_IMAGE)
        owners: dict[str, bytes] = {}
        for image in found:
            for name in image.names:
                if owners.setdefault(canonical_name(name), image.config) != image.config:
                    raise ArchiveError(messages.PROFILE_IMAGE_NAME_TWICE, name=name[:100])
        return found

    def _read_members(self) -> None:
        spelled: dict[str, str] = {}
        folders: set[str] = set()
        for member in members(self._source):
            key = member.name.casefold()
            if key in spelled:
                raise ArchiveError(messages.PROFILE_NAME_TWICE, name=member.name)
            spelled[key] = member.name
            self._members[member.name] = member
        for name, member in self._members.items():
            if member.kind in (HARD_LINK, LINK) and not self._leads_to_a_file(member):
                raise ArchiveError(messages.PROFILE_LINK, name=name)
            _check_spelling(name, is_folder=member.kind == FOLDER)
            above = name
            while "/" in above:
                above = above.rpartition("/")[0]
                if above in folders:
                    break  # this folder, and all folders above it, were checked with an earlier member
                folders.add(above)
                _check_spelling(above, is_folder=True)
                if above in self._members and self._members[above].kind != FOLDER:
                    raise ArchiveError(messages.PROFILE_BENEATH_NO_FOLDER, name=name, above=above)
                if spelled.setdefault(above.casefold(), above) != above:
                    raise ArchiveError(messages.PROFILE_FOLDER_SPELLINGS, name=name)
                if len(spelled) > MAX_MEMBERS:
                    raise ArchiveError(messages.TAR_MEMBERS, most=MAX_MEMBERS)

    def _leads_to_a_file(self, member: PlainMember) -> bool:
        """Return whether a link leads to a file in the archive. Any other link might lead out of the extracted folder.

        ``..`` is accepted only at the beginning. After a link, ``..`` would be relative to the link's target.
        """
        above, leads_to = member.name.split("/")[:-1], member.leads_to
        if member.kind == HARD_LINK:
            above = []
        while member.kind == LINK and above and leads_to.startswith("../"):
            above, leads_to = above[:-1], leads_to.removeprefix("../")
        found = self._members.get("/".join([*above, leads_to]))
        return found is not None and found.kind == FILE

    def _file(self, name: str) -> PlainMember:
        """Return the regular member that a document refers to."""
        member = self._members.get(name)
        if member is None or member.kind != FILE:
            raise ArchiveError(messages.PROFILE_NOT_REGULAR, name=name[:100])
        return member

    def _document(self, name: str) -> bytes:
        member = self._file(name)
        if member.size > MAX_DOCUMENT:
            raise ArchiveError(messages.PROFILE_DOCUMENT_SIZE, name=name, size=member.size, max_document=MAX_DOCUMENT)
        self._left -= member.size + 1024
        if name in self._read:
            self._pool.documents -= member.size + 1024
        self._read.add(name)
        if min(self._left, self._pool.documents) < 0:
            raise ArchiveError(messages.PROFILE_DOCUMENTS_TOTAL, max_documents=MAX_DOCUMENTS)
        return self._source.read_at(member.start, member.size)

    def _digest(self, name: str) -> bytes:
        """Return the SHA-256 of a member."""
        if name not in self._digests:
            member = self._file(name)
            found = self._known.get((member.start, member.size))
            self._digests[name] = found or digest.sha256_of(copy_chunks(self._source, member.start, member.size))
        return self._digests[name]

    def _is_hashed(self, name: str) -> bool:
        return self._hashed or self._file(name).size <= MAX_DOCUMENT

    def _blob(self, descriptor: Descriptor, where: str) -> str:
        """Return the name of a blob that exists and matches its descriptor."""
        name = f"blobs/sha256/{descriptor.digest.hex()}"
        if self._file(name).size != descriptor.size:
            raise ArchiveError(messages.PROFILE_DESCRIPTOR_SIZE, where=where)
        if self._is_hashed(name) and self._digest(name) != descriptor.digest:
            raise ArchiveError(messages.PROFILE_DESCRIPTOR_DIGEST, where=where)
        return name

    def _layer(self, name: str) -> tuple[str | None, bytes]:
        """Return a layer's compression and the digest of its content."""
        if name not in self._layers:
            member = self._file(name)
            kind = layer_compression(self._source.read_at(member.start, min(16, member.size)))
            chunks = copy_chunks(self._source, member.start, member.size)
            diff_id = digest.sha256_of(expanded(kind, chunks, member.size, self._pool)) if kind else self._digest(name)
            self._layers[name] = kind, diff_id
        return self._layers[name]

    def check_layers(self) -> None:
        """Hash the layers of all images. Raise ``ArchiveError`` if a layer does not match config or manifest."""
        for names, config, where, kinds in self._unhashed:
            for name, diff_id, kind in zip(names, config.diff_ids, kinds, strict=True):
                if self._layer(name) != (kind if kind != _ANY else self._layer(name)[0], diff_id):
                    raise ArchiveError(messages.PROFILE_LAYER_DIGEST, where=where, name=name)

    def _note_layers(self, names: list[str], config: StrictConfig, where: str, kinds: list[str | None]) -> None:
        """Record the expected layers of an image. ``kinds`` are the compressions of these layers."""
        if len(names) != len(config.diff_ids):
            raise ArchiveError(
                messages.PROFILE_LAYER_COUNT, where=where, names_count=len(names), diff_ids_count=len(config.diff_ids)
            )
        for name in names:
            self._file(name)
        if self._hashed:
            self._unhashed.append((names, config, where, tuple(kinds)))

    def _docker(self, entries: list[DockerEntry]) -> list[ArchiveImage]:
        found = []
        for number, entry in enumerate(entries):
            where = f"manifest.json[{number}]"
            config = StrictConfig(self._document(entry.config), where)
            self._note_layers(list(entry.layers), config, where, [_ANY] * len(entry.layers))
            for diff_id, source in entry.sources.items():
                if diff_id not in config.diff_ids or source.media_type not in strict.LAYER_TYPES or source.annotations:
                    raise ArchiveError(messages.PROFILE_LAYER_SOURCES, where=where)
                for name in (name for name, of in zip(entry.layers, config.diff_ids, strict=True) if of == diff_id):
                    is_same = not self._is_hashed(name) or source.digest == self._digest(name)
                    if not is_same or source.size != self._file(name).size:
                        raise ArchiveError(messages.PROFILE_LAYER_SOURCE, where=where, name=name)
            found.append(ArchiveImage(where, self._digest(entry.config), None, entry.names))
        configs = {image.config for image in found}
        for entry, image in zip(entries, found, strict=True):
            if entry.parent and (entry.parent == image.config or entry.parent not in configs):
                raise ArchiveError(messages.PROFILE_PARENT)
        return found

    def _layout(self, before: list[ArchiveImage]) -> list[ArchiveImage]:
        """Return the images to which index.json leads."""
        index = IndexDocument(self._document("index.json"), "index.json", None)
        found: list[ArchiveImage] = []
        for number, descriptor in enumerate(index.manifests):
            self._follow(descriptor, f"index.json: manifests[{number}]", 0, names_of(descriptor), found)
        if not found:
            raise ArchiveError(messages.PROFILE_NO_IMAGE, where="index.json")
        if before and not {image.config for image in before} == {image.config for image in found}:
            raise ArchiveError(messages.PROFILE_TWO_IMAGES)
        return found

    def _follow(
        self,
        descriptor: Descriptor,
        where: str,
        depth: int,
        names: tuple[str, ...],
        found: list[ArchiveImage],
    ) -> None:
        """Check the manifest or the index to which a descriptor leads.

        A missing manifest is refused, because an engine may already have this manifest, and may prefer it. The platform
        of a missing manifest is unknown, because only the config states the platform.
        """
        is_index = descriptor.media_type in strict.INDEX_TYPES
        if not is_index and descriptor.media_type not in strict.MANIFEST_TYPES:
            raise ArchiveError(messages.PROFILE_MEDIA_TYPE, where=where, media_type=descriptor.media_type[:100])
        name = f"blobs/sha256/{descriptor.digest.hex()}"
        if name not in self._members:
            raise ArchiveError(messages.PROFILE_MANIFEST_ABSENT, where=where)
        self._blob(descriptor, where)
        if is_index:
            if depth == MAX_DEPTH:
                raise ArchiveError(messages.JSON_INDEX_NESTED, where=where)
            document = IndexDocument(self._document(name), name, descriptor.media_type)
            images, is_attested = len(found), False
            for number, below in enumerate(document.manifests):
                before = len(found)
                self._follow(below, f"{name}: manifests[{number}]", depth + 1, names, found)
                if len(found) > before and is_attested:
                    raise ArchiveError(messages.PROFILE_ATTESTATION_ORDER, where=f"{name}: manifests[{number}]")
                is_attested = len(found) == before
            if len(found) == images:
                raise ArchiveError(messages.PROFILE_NO_IMAGE, where=name)
            return
        manifest = ManifestDocument(self._document(name), name, descriptor.media_type)
        if manifest.config.media_type not in strict.CONFIG_TYPES:
            raise ArchiveError(messages.PROFILE_CONFIG_TYPE, where=where, media_type=manifest.config.media_type[:100])
        if descriptor.is_attestation:
            self._check_attestation(descriptor, manifest, where, depth)
            return
        config_name = self._blob(manifest.config, f"{where}: config")
        config = StrictConfig(self._document(config_name), config_name)
        layers = [self._blob(layer, f"{where}: layers[{n}]") for n, layer in enumerate(manifest.layers)]
        if any(layer.media_type not in strict.LAYER_TYPES for layer in manifest.layers):
            raise ArchiveError(messages.PROFILE_LAYER_TYPE, where=where)
        self._note_layers(layers, config, where, [strict.LAYER_TYPES[layer.media_type] for layer in manifest.layers])
        if descriptor.platform and not _overlap(descriptor.platform, config.platform):
            raise ArchiveError(
                messages.PROFILE_PLATFORM,
                where=where,
                platform=descriptor.platform[:40],
                platform_2=config.platform[:40],
            )
        found.append(
            ArchiveImage(
                where,
                manifest.config.digest,
                descriptor.digest,
                names,
                has_instructions=manifest.has_instructions,
            )
        )

    def _check_attestation(self, descriptor: Descriptor, manifest: ManifestDocument, where: str, depth: int) -> None:
        """Refuse an attestation that could be mistaken for an image."""
        if depth != 1 or descriptor.platform != "unknown/unknown":
            raise ArchiveError(messages.PROFILE_ATTESTATION_AS_IMAGE, where=where)
        if not manifest.layers or any(layer.media_type != strict.IN_TOTO for layer in manifest.layers):
            raise ArchiveError(messages.PROFILE_ATTESTATION_LAYERS, where=where)
        config_name = self._blob(manifest.config, f"{where}: config")
        if StrictConfig(self._document(config_name), config_name).platform != "unknown/unknown":
            # docker selects manifests by platform, so it might load this attestation as an image
            raise ArchiveError(messages.PROFILE_ATTESTATION_AS_IMAGE, where=where)


def canonical_name(name: str) -> str:
    """Return a name in a canonical spelling, because engines treat several spellings as the same name."""
    host = next((host for host in _SAME_HOSTS if name.startswith(host)), "")
    path = name.removeprefix(host).removeprefix("library/")
    return path if ":" in path.rpartition("/")[2] else f"{path}:latest"


def names_of(descriptor: Descriptor) -> tuple[str, ...]:
    """Return the names that engines may give an image, from its descriptor in index.json.

    An engine takes the name from containerd's annotation, if it exists, or else from OCI's annotation. Some engines
    know only OCI's annotation. OCI's annotation usually has only the tag of the name in containerd's annotation.
    """
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    first, second = (descriptor.annotations.get(key, "") for key in keys)
    is_name = not first or "/" in second or ":" in second
    return tuple(dict.fromkeys(name for name in (first, second if is_name else "") if name))


def _overlap(one: str, other: str) -> bool:
    """Return whether engines may confuse platforms: os and architecture are equal, or missing in one."""
    first, second = one.split("/")[:2], other.split("/")[:2]
    return not (all(first) and all(second) and len(first) == len(second) == 2) or first == second


def layer_compression(head: bytes) -> str | None:
    """Return a layer's compression. Raise ``ArchiveError`` if it is ambiguous, or if engines do not support it."""
    kind = compression.sniff(head)
    is_skippable = kind == "zstd" and head[:4] != b"\x28\xb5\x2f\xfd"
    if kind not in (None, "gzip", "zstd") or is_skippable or (kind is None and head[:3] == b"BZh"):
        raise ArchiveError(messages.EXPECT_LAYER_COMPRESSION, kind=kind or "unclear")
    return kind


class Pool:
    """The remaining budget, in bytes, of all archives that are checked together.

    The layers' contents may exceed :data:`MAX_EXPANSION` times the layers' sizes by ``excess`` more bytes.
    ``documents`` is the remaining budget, in bytes, for reading documents again.
    """

    def __init__(self, excess: int = MAX_EXCESS) -> None:
        self.excess = excess
        self.documents = MAX_DOCUMENTS


def expanded(
    kind: str, chunks: Iterator[bytes], size: int, pool: Pool, expansion: int = MAX_EXPANSION
) -> Iterator[bytes]:
    """Yield the content of a compressed layer of ``size`` bytes.

    Raise ``ArchiveError`` if there is too much content.
    """
    limit = size * expansion
    for piece in compression.decompress_iter(kind, chunks, is_exact=True):
        limit -= len(piece)
        if limit < 0:
            pool.excess += limit
            limit = 0
        if pool.excess < 0:
            raise ArchiveError(messages.PROFILE_EXPANSION, max_expansion=MAX_EXPANSION, max_excess=MAX_EXCESS >> 30)
        yield piece


def _check_spelling(name: str, *, is_folder: bool) -> None:
    """Raise ``ArchiveError`` if a document's name has the wrong upper or lower case, or names a folder."""
    if name.lower() in _DOCUMENTS and name not in _DOCUMENTS:
        raise ArchiveError(messages.PROFILE_DOCUMENT_SPELLING, name=name)
    if is_folder and name in _FILES:
        raise ArchiveError(messages.PROFILE_DOCUMENT_FOLDER, name=name)
