"""Docker's manifest.json: a list of images, each with the names of its members."""

from __future__ import annotations

from typing import Final

from dibundle.errors import ArchiveError
from dibundle.images import document, messages
from dibundle.images.claims import Claims, ImageDraft, named_digest
from dibundle.images.document import get, get_list, get_text
from dibundle.images.members import Members

MANIFEST = b"manifest.json"


def read_manifest(members: Members) -> list[object] | None:
    """Return the entries of manifest.json, or None if it is missing. Raise ``ArchiveError`` for anything but a list."""
    entry = members.find(MANIFEST)
    if entry is None:
        return None
    value = document.parse(members.read(entry), "manifest.json")
    if not isinstance(value, list):
        raise ArchiveError(messages.DOCKER_MANIFEST_NOT_LIST)
    return [_told(item) for item in value]


_KEYS: Final = frozenset(("config", "repotags", "layers", "layersources"))


def _told(item: object) -> dict[str, object]:
    """Return only the relevant keys of an entry, because other keys may hold any amount of data."""
    found = item.items() if isinstance(item, dict) else ()
    return {key: _flat(value) for key, value in found if key.lower() in _KEYS}


def _flat(value: object) -> object:
    """Return a text or None unchanged. In a list, replace anything but texts by None. For other values, return 0."""
    if isinstance(value, list):
        return [item if isinstance(item, str) else None for item in value]
    return value if isinstance(value, str | None) else 0


def read_drafts(claims: Claims, manifest: list[object]) -> list[ImageDraft]:
    """Return the images of a manifest.json."""
    claims.note(claims.members.find(MANIFEST), "manifest")
    return [_draft(claims, item, f"manifest.json[{number}]") for number, item in enumerate(manifest)]


def _draft(claims: Claims, item: object, where: str) -> ImageDraft:
    config_name, layer_names = get_text(item, "Config"), get(item, "Layers")
    if config_name is None:
        raise ArchiveError(messages.DOCKER_CONFIG_NOT_TEXT, where=where)
    if not isinstance(layer_names, list | None):
        raise ArchiveError(messages.DOCKER_LAYERS_NOT_LIST, where=where)
    claims.count_layers(max(1, len(layer_names or []) + len(get_list(item, "RepoTags"))))
    layers = tuple(
        claims.members.find_text(_text(name, f"{where}.Layers[{number}]"))
        for number, name in enumerate(layer_names or [])
    )
    entry = claims.members.find_text(config_name)
    config = claims.config(entry) if entry else None
    diff_ids = config.diff_ids if config else ()
    claims.note_layers(layers, diff_ids)
    names = tuple(name for name in get_list(item, "RepoTags") if isinstance(name, str))
    claims.count_names(names)
    return ImageDraft(
        names=names,
        config=entry,
        config_digest=config.digest if config else named_digest(config_name.encode("utf-8", "surrogatepass")) or b"",
        layers=layers,
        diff_ids=diff_ids,
        manifest_digest=None,
        platform=config.platform if config else None,
    )


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ArchiveError(messages.DOCKER_LAYER_NOT_TEXT, where=where)
    return value
