"""Guesses for display: the program that wrote an archive, or the kind of a file without images."""

from __future__ import annotations

import re
from typing import Final

from dibundle.errors import ArchiveError, Message, shell_words
from dibundle.images import messages
from dibundle.images.archive import Archive
from dibundle.images.document import get, get_list
from dibundle.images.members import Members

_ROOT: Final = frozenset((b"bin", b"etc", b"usr", b"var", b"lib", b"dev", b"proc", b"sbin", b"root", b"tmp", b"sys"))
_DIFF_ID_NAME: Final = re.compile(rb"[0-9a-f]{64}\.tar")
_VERSION_NAME: Final = re.compile(rb"[0-9a-f]{64}/VERSION")
_NESTED: Final = re.compile(rb"([^/]+)/(manifest\.json|oci-layout|index\.json)")


def producer(members: Members, manifest: list[object] | None, *, has_index: bool) -> str | None:
    """Return the name of the program that probably wrote the archive. Return None if the program is unknown."""
    if manifest is None:
        return "OCI archive" if has_index else "docker save (before 1.10)"
    first = manifest[0] if manifest else None
    if members.find(b"oci-layout") is not None:
        new = get(first, "LayerSources") is not None
        return "docker save (25 or newer)" if new else "containerd image store (docker save, ctr or nerdctl)"
    return _docker_producer(members.names, first)


def _docker_producer(names: list[bytes], image: object) -> str | None:
    """Guess which program wrote an archive that has only a manifest.json."""
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
        return _refusal(archive, messages.ARCHIVE_EMPTY_MANIFEST)
    if has_index:
        return _refusal(archive, messages.ARCHIVE_INDEX_LEADS_NOWHERE)
    if archive.index.problem:
        return _refusal(archive, messages.ARCHIVE_DAMAGED_WITHOUT_MANIFEST, problem=archive.index.problem)
    if not names:
        return _refusal(archive, messages.ARCHIVE_NOTHING_IN_IT)
    if members.find(b"repositories") is not None:
        return _refusal(archive, messages.ARCHIVE_REPOSITORIES_ALONE)
    if nested := next((match[1] for name in names if (match := _NESTED.fullmatch(name))), None):
        folder = shell_words(nested.decode("utf-8", "backslashreplace"))
        return _refusal(archive, messages.ARCHIVE_IN_A_FOLDER, folder=folder)
    if any(name.rsplit(b"/", 1)[-1].startswith(b".wh.") for name in names):
        return _refusal(archive, messages.ARCHIVE_SINGLE_LAYER)
    if len(tops & _ROOT) >= 3:
        return _refusal(archive, messages.ARCHIVE_ROOT_FILE_SYSTEM)
    return _refusal(archive, messages.ARCHIVE_OTHER_TAR)


def _refusal(archive: Archive, message: Message, **values: object) -> ArchiveError:
    return ArchiveError(message, name=archive.name, **values)
