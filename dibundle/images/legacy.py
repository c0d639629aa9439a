"""Archives of docker versions before 1.10: a file ``repositories``, and a folder for each layer.

In a layer's folder, the file json names the layer's parent. An image in such an archive is identified by the name of
its topmost layer, and has no config and no diffIDs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.images import document
from dibundle.images.claims import Claims, ImageDraft
from dibundle.images.document import get_text
from dibundle.images.members import Members

REPOSITORIES: Final = b"repositories"

_LAYER: Final = re.compile(rb"([0-9a-f]{64})/layer\.tar")


def read_drafts(claims: Claims) -> list[ImageDraft]:
    """Return the images of an archive of docker before 1.10. Images with names come first.

    For any other kind of archive, return no images.
    """
    members = claims.members
    parents = {name: _parent(members, name) for name in _layer_names(members)}
    names = _names(claims, parents)
    tops = list(names)
    below = set(parents.values())
    tops += [name for name in parents if name not in below and name not in names]
    return [_draft(claims, top, parents, tuple(names.get(top, ()))) for top in tops]


def _draft(claims: Claims, top: str, parents: dict[str, str | None], names: tuple[str, ...]) -> ImageDraft:
    chain: dict[str, None] = {}  # a dict as an ordered set
    at: str | None = top
    while at is not None and at in parents and at not in chain:
        chain[at] = None
        at = parents[at]
    claims.count_layers(len(chain))
    layers = tuple(claims.members.find_text(f"{name}/layer.tar") for name in reversed(chain))
    claims.note_layers(layers, ())
    claims.note(claims.members.find_text(f"{top}/json"), "config")
    return ImageDraft(
        names=names,
        config=None,
        config_digest=bytes.fromhex(top),
        layers=layers,
        diff_ids=(),
        manifest_digest=None,
        platform=None,
    )


def _layer_names(members: Members) -> list[str]:
    found = (_LAYER.fullmatch(name) for name in members.names)
    return [match[1].decode() for match in found if match]


def _parent(members: Members, name: str) -> str | None:
    entry = members.find_text(f"{name}/json")
    if entry is None:
        return None
    try:
        parent = get_text(document.parse(members.read(entry), f"{name}/json"), "parent")
    except ArchiveError:
        return None
    # the names of all layers have the same length
    return parent if parent and len(parent) == len(name) else None


def _names(claims: Claims, layers: Container[str]) -> dict[str, list[str]]:
    """Return the names of images, by the name of the topmost layer.

    The file ``repositories`` has a repository's name only once, but the images' names repeat this name for every tag.
    Therefore, the total length of all names is checked before a name is built.
    """
    entry = claims.members.find(REPOSITORIES)
    value = document.parse(claims.members.read(entry), "repositories") if entry else None
    names: dict[str, list[str]] = defaultdict(list)
    for repository, tags in value.items() if isinstance(value, dict) else ():
        for tag, top in tags.items() if isinstance(tags, dict) else ():
            if isinstance(top, str) and top in layers:
                claims.count_layers(1)
                claims.count_names((repository, tag))
                names[top].append(f"{repository}:{tag}")
    return names
