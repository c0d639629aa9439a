"""Names as in skopeo: ``docker-daemon:app:1``, ``docker://HOST/app:1``, ``oci:FOLDER``. Other names are paths."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCHEME: Final = "docker://"  # prefix of names in a registry
_ENGINES: Final = ("docker-daemon", "containers-storage")
_FILES: Final = ("docker-archive", "oci-archive", "oci")


def is_reference(name: str) -> bool:
    """Return whether a name is a reference in a registry."""
    return name.startswith(SCHEME)


def engine_of(name: str) -> tuple[str, str] | None:
    """Return the transport and the reference of an image that an engine has to save. Return None for any other name."""
    transport, colon, reference = name.partition(":")
    return (transport, reference) if colon and transport in _ENGINES else None


def path_of(name: str) -> str:
    """Return the path for a name. For ``oci:FOLDER:TAG``, return the folder, because all its images are used."""
    transport, colon, rest = name.partition(":")
    if not colon or transport not in _FILES:
        return name
    if Path(rest).exists():
        return rest
    path, colon, _ = rest.rpartition(":")
    while colon and not Path(path).exists():
        path, colon, _ = path.rpartition(":")
    return path if colon else rest
