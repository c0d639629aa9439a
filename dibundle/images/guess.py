"""Guesses for people: which program wrote an archive, and what a file is that holds no image."""

from __future__ import annotations

import re
import shlex
from typing import Final

from dibundle.errors import ArchiveError
from dibundle.images.document import get, get_list
from dibundle.images.members import Members

_SAVE: Final = 'make an image archive with "docker save -o FILE IMAGE"'
_ROOT: Final = frozenset((b"bin", b"etc", b"usr", b"var", b"lib", b"dev", b"proc", b"sbin", b"root", b"tmp", b"sys"))
_DIFF_ID_NAME: Final = re.compile(rb"[0-9a-f]{64}\.tar")
_VERSION_NAME: Final = re.compile(rb"[0-9a-f]{64}/VERSION")
_NESTED: Final = re.compile(rb"([^/]+)/(manifest\.json|oci-layout|index\.json)")


def producer(members: Members, manifest: list[object] | None, *, has_index: bool) -> str | None:
    """Return who seems to have written the archive; None when nothing tells."""
    if manifest is None:
        return "OCI archive" if has_index else "docker save (before 1.10)"
    first = manifest[0] if manifest else None
    if members.find(b"oci-layout") is not None:
        new = get(first, "LayerSources") is not None
        return "docker save (25 or newer)" if new else "containerd image store (docker save, ctr or nerdctl)"
    return _docker_producer(members.names, first)


def _docker_producer(names: list[bytes], image: object) -> str | None:
    """Tell apart the writers of archives that have a manifest.json alone."""
    config = get(image, "Config")
    layers = get_list(image, "Layers")
    if isinstance(image, dict) and "config" in image:
        return "jib"
    if isinstance(config, str) and config.startswith("sha256:"):
        return "kaniko, crane or ko"
    if any(_DIFF_ID_NAME.fullmatch(name) for name in names):
        return "podman/skopeo docker-archive"
    if any(isinstance(layer, str) and layer.endswith("/layer.tar") for layer in layers):
        return "docker save (before 25)" if any(map(_VERSION_NAME.fullmatch, names)) else None
    return None


def refusal(members: Members, *, has_manifest: bool, has_index: bool) -> ArchiveError:
    """Return the error for an archive without images, with the likeliest reason."""
    archive = members.archive
    names = members.names
    tops = {name.split(b"/", 1)[0] for name in names}
    if has_manifest:
        what, hint = "its manifest.json lists no image", _SAVE
    elif has_index:
        what, hint = "no image manifest that its index.json points to is in it", "save the image with its content"
    elif archive.index.problem:
        what, hint = f"it has no manifest.json, and {archive.index.problem}", "copy or download the file again"
    elif not names:
        what, hint = "there is nothing in it", _SAVE
    elif members.find(b"repositories") is not None:
        what, hint = "it has repositories but no manifest.json and no layers", _SAVE
    elif nested := next((match[1] for name in names if (match := _NESTED.fullmatch(name))), None):
        what = "its files lie in a folder instead of at the top"
        hint = f"pack the folder's content: tar -C {shlex.quote(nested.decode('utf-8', 'backslashreplace'))} -cf FILE ."
    elif any(name.rsplit(b"/", 1)[-1].startswith(b".wh.") for name in names):
        what, hint = "it looks like a single layer", "give the whole archive that the layer belongs to"
    elif len(tops & _ROOT) >= 3:
        what = "it looks like a root file system, as docker export writes it"
        hint = 'use "docker save -o FILE IMAGE" instead of "docker export"'
    else:
        what, hint = "it is a tar without manifest.json or index.json", _SAVE
    return ArchiveError(f"{archive.name} is not an image archive: {what}", hint=hint)
