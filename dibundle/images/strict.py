"""Image documents that all readers parse in the same way.

The documents are strict JSON. Unknown keys are refused, and a known key is accepted in only one spelling. Loaders are
written in Go. Go's JSON decoder ignores the case of keys (even for U+017F and U+212A). The decoder uses the last of two
equal keys, and replaces invalid UTF-8. In some programs, the decoder stops reading after the first value. If a document
could be read differently for one of these reasons, this module refuses the document. All functions raise
``ArchiveError``. The error names the place in the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Final, Never

from dibundle.errors import ArchiveError
from dibundle.images import messages

INDEX_TYPES: Final = frozenset(
    ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
)
MANIFEST_TYPES: Final = frozenset(
    ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
)
CONFIG_TYPES: Final = frozenset(
    ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
)
LAYER_TYPES: Final = {
    "application/vnd.oci.image.layer.v1.tar": None,
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": None,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
}
"""The compression of a layer, by its media type."""
IN_TOTO: Final = "application/vnd.in-toto+json"
MAX_LIST: Final = 4096
"""The maximum number of images, manifests or layers in one list."""

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_CONFIG_KEYS: Final = frozenset(
    ("architecture", "os", "variant", "os.version", "os.features", "rootfs", "config", "history", "created", "author")
)
_DESCRIPTOR_KEYS: Final = frozenset(("mediaType", "digest", "size", "annotations", "platform", "artifactType"))
_TEXTS: Final = "org.opencontainers.image."
_PLATFORM_KEYS: Final = frozenset(("architecture", "os", "variant", "os.version", "os.features"))


def parse(content: bytes, name: str) -> object:
    """Return the JSON object or array that makes up the whole ``content``. No object may repeat a key."""
    if content[:1] not in (b"{", b"["):
        raise ArchiveError(messages.JSON_START, name=name)
    try:
        text = content.decode("utf-8")
        value: object = json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ArchiveError(messages.JSON_NESTED, name=name) from error
    except UnicodeError as error:
        raise ArchiveError(messages.JSON_UTF_8, name=name) from error
    except ValueError as error:
        raise ArchiveError(messages.JSON_NOT_STRICT, name=name, error=str(error)[:100]) from error
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ArchiveError(messages.JSON_SURROGATE, name=name) from error
    return value


def _pairs(items: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a key occurs twice in an object")
    return found


_FOLDED: Final[dict[int, int | str]] = {
    **{letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)},
    0x17F: "s",
    0x212A: "k",
}


def _refuse_constant(text: str) -> Never:
    raise ValueError(f"{text} is no number")


def fold(key: str) -> str:
    """Return a key in the form that case-insensitive readers compare.

    Go's ``encoding/json`` compares keys with field names. The field names here have only ASCII letters. In Go's
    comparison, two characters outside ASCII are equal to ASCII letters.
    """
    return key.translate(_FOLDED)


def read_object(value: object, known: Collection[str], where: str, *, more: bool = False) -> dict[str, object]:
    """Return an object with only ``known`` keys.

    With ``more``, other keys may occur if no reader mistakes them for known keys.
    """
    if not isinstance(value, dict):
        raise ArchiveError(messages.JSON_NOT_OBJECT, where=where)
    folded = {fold(key): key for key in known}
    seen = set()
    for key in value:
        if key not in known and (not more or fold(key) in folded):
            raise ArchiveError(messages.JSON_KEY, where=where, key=key[:40])
        if fold(key) in seen:
            raise ArchiveError(messages.JSON_KEY_TWICE, where=where, key=key[:40])
        seen.add(fold(key))
    return value


def read_list(value: object, where: str) -> list[object]:
    """Return a list of at most :data:`MAX_LIST` values."""
    if not isinstance(value, list):
        raise ArchiveError(messages.JSON_NOT_LIST, where=where)
    if len(value) > MAX_LIST:
        raise ArchiveError(messages.JSON_LIST_LENGTH, where=where, value_count=len(value), max_list=MAX_LIST)
    return value


def read_text(value: object, where: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise ArchiveError(messages.JSON_NOT_TEXT, where=where)
    return value


def read_digest(value: object, where: str) -> bytes:
    """Return the 32 bytes of a ``sha256:`` digest. Refuse other algorithms."""
    found = _DIGEST.fullmatch(read_text(value, where))
    if not found:
        raise ArchiveError(messages.JSON_DIGEST, where=where)
    return bytes.fromhex(found[1])


class Descriptor:
    """A descriptor of a blob in an index or a manifest. It has a ``digest`` (32 bytes), a ``size``, and other fields.

    The other fields are a media type, a platform and annotations. ``is_plain`` is true if the descriptor has no
    platform and no artifact type.
    """

    __slots__ = ("annotations", "digest", "is_plain", "media_type", "platform", "size")

    def __init__(self, value: object, where: str) -> None:
        # urls and data are not among the known keys, so they are refused
        fields = read_object(value, _DESCRIPTOR_KEYS, where)
        self.media_type = read_text(fields.get("mediaType"), f"{where}.mediaType")
        self.digest = read_digest(fields.get("digest"), f"{where}.digest")
        size = fields.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
            raise ArchiveError(messages.JSON_SIZE, where=where)
        self.size = size
        if fields.get("artifactType") not in (None, *CONFIG_TYPES):
            raise ArchiveError(messages.JSON_ARTIFACT_TYPE, where=where)
        self.annotations = _texts(fields["annotations"], f"{where}.annotations") if "annotations" in fields else {}
        self.is_plain = "platform" not in fields and "artifactType" not in fields
        self.platform: str | None = None
        if "platform" in fields:
            platform = read_object(fields["platform"], _PLATFORM_KEYS, f"{where}.platform")
            self.platform = read_platform(platform, f"{where}.platform")

    @property
    def is_attestation(self) -> bool:
        """Whether the descriptor claims that its manifest is an attestation.

        Only the manifest's content shows whether this is true.
        """
        return self.platform == "unknown/unknown" or "vnd.docker.reference.type" in self.annotations


def _texts(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    fields = read_object(value, (), where, more=True)
    return {key: read_text(item, f"{where}[{key[:40]!r}]") for key, item in fields.items()}


def read_platform(fields: dict[str, object], where: str) -> str:
    """Return a platform as ``os/architecture[/variant]``. Missing parts are empty."""
    given = {key: fields.get(key) for key in ("os", "architecture", "variant")}
    found = ["" if value is None else read_text(value, f"{where}.{key}") for key, value in given.items()]
    if any("/" in part for part in found):
        raise ArchiveError(messages.JSON_PLATFORM, where=where)
    return "/".join(found).rstrip("/")


class StrictConfig:
    """An image's config. ``diff_ids`` has the diffID of each layer (32 bytes), the lowest layer first."""

    __slots__ = ("diff_ids", "platform")

    def __init__(self, content: bytes, name: str) -> None:
        value = read_object(parse(content, name), _CONFIG_KEYS, name, more=True)
        for key in ("manifests", "layers", "schemaVersion", "fsLayers", "mediaType"):
            if key in value:
                raise ArchiveError(messages.JSON_CONFIG_KEY, name=name, key=key)
        rootfs = read_object(value.get("rootfs"), ("type", "diff_ids"), f"{name}: rootfs")
        if rootfs.get("type") != "layers":
            raise ArchiveError(messages.JSON_ROOTFS_TYPE, name=name)
        found = rootfs.get("diff_ids")
        listed = [] if found is None else read_list(found, f"{name}: rootfs.diff_ids")
        self.diff_ids = tuple(read_digest(item, f"{name}: rootfs.diff_ids[{n}]") for n, item in enumerate(listed))
        self.platform = read_platform(value, name)


class ManifestDocument:
    """An image manifest, with the descriptors of its config and of its layers, the lowest layer first.

    The argument ``media_type`` is the type in the manifest's descriptor, or None without a descriptor. ``annotations``
    are the keys of all annotations.
    """

    __slots__ = ("annotations", "config", "is_plain", "layers", "media_type")

    def __init__(self, content: bytes, name: str, media_type: str | None) -> None:
        fields = read_object(
            parse(content, name), ("schemaVersion", "mediaType", "config", "layers", "annotations"), name
        )
        self.media_type = _head(fields, name, media_type, MANIFEST_TYPES)
        self.config = Descriptor(fields.get("config"), f"{name}: config")
        listed = read_list(fields.get("layers"), f"{name}: layers")
        self.layers = tuple(Descriptor(item, f"{name}: layers[{number}]") for number, item in enumerate(listed))
        own = _texts(fields["annotations"], f"{name}: annotations") if "annotations" in fields else {}
        self.annotations = frozenset(own).union(*(item.annotations for item in (self.config, *self.layers)))
        self.is_plain = all(item.is_plain for item in (self.config, *self.layers))

    @property
    def has_instructions(self) -> bool:
        """Whether annotations (except OCI's descriptions) or the platforms of parts may change what programs do."""
        return not self.is_plain or not all(key.startswith(_TEXTS) for key in self.annotations)


class IndexDocument:
    """An index, with descriptors of manifests and of further indexes."""

    __slots__ = ("manifests",)

    def __init__(self, content: bytes, name: str, media_type: str | None) -> None:
        fields = read_object(parse(content, name), ("schemaVersion", "mediaType", "manifests", "annotations"), name)
        _head(fields, name, media_type, INDEX_TYPES)
        listed = read_list(fields.get("manifests"), f"{name}: manifests")
        self.manifests = tuple(Descriptor(item, f"{name}: manifests[{n}]") for n, item in enumerate(listed))
        if "annotations" in fields:
            _texts(fields["annotations"], f"{name}: annotations")


def _head(fields: dict[str, object], name: str, media_type: str | None, types: Collection[str]) -> str:
    """Return the document's media type.

    Check that the document's version is 2, and that the descriptor has the same type.
    """
    if fields.get("schemaVersion") != 2 or isinstance(fields["schemaVersion"], bool | float):
        raise ArchiveError(messages.JSON_SCHEMA_VERSION, name=name)
    own = fields.get("mediaType", media_type or next(item for item in types if "vnd.oci" in item))
    if not isinstance(own, str) or own not in types or media_type not in (None, own):
        raise ArchiveError(messages.JSON_MEDIA_TYPE, name=name, own=repr(own)[:80], media_type=repr(media_type)[:80])
    return own


class DockerEntry:
    """An image in docker's manifest.json.

    The image has tags, a parent, and the names of its config and layers in the archive.
    """

    __slots__ = ("config", "layers", "names", "parent", "sources")

    def __init__(self, value: object, where: str) -> None:
        is_jib = isinstance(value, dict) and "config" in value
        config, names, layers = ("config", "repoTags", "layers") if is_jib else ("Config", "RepoTags", "Layers")
        fields = read_object(value, (config, names, layers, *(() if is_jib else ("LayerSources", "Parent"))), where)
        parent = fields.get("Parent")
        self.parent = None if parent is None else read_digest(parent, f"{where}.Parent")
        self.config = read_text(fields.get(config), f"{where}.{config}")
        tags = fields.get(names)
        self.names = tuple(
            read_text(item, f"{where}.{names}")
            for item in ([] if tags is None else read_list(tags, f"{where}.{names}"))
        )
        listed = fields.get(layers)
        self.layers = tuple(
            read_text(item, f"{where}.{layers}")
            for item in ([] if listed is None else read_list(listed, f"{where}.{layers}"))
        )
        sources = fields.get("LayerSources")
        found = {} if sources is None else read_object(sources, (), f"{where}.LayerSources", more=True)
        self.sources = {
            read_digest(key, f"{where}.LayerSources"): Descriptor(item, f"{where}.LayerSources")
            for key, item in found.items()
        }


def docker_entries(content: bytes, name: str) -> list[DockerEntry]:
    """Return the images of a manifest.json. Refuse a manifest.json without images."""
    listed = read_list(parse(content, name), name)
    if not listed:
        raise ArchiveError(messages.JSON_NO_IMAGE, name=name)
    return [DockerEntry(item, f"{name}[{number}]") for number, item in enumerate(listed)]
