"""The environment variables and files that dib reads. The docs and the manual page contain this list."""

from __future__ import annotations

from typing import Final

VARIABLES: Final = (
    ("DIB_ALLOWED_SIGNERS", "File of allowed signers, as --allowed-signers; it requires a signature of every bundle."),
    ("DIB_REQUIRE_SIGNATURE", "Require a signature, as --require-signature."),
    ("XDG_CACHE_HOME", "Folder in which dib.pyz keeps what it unpacks. Default: ~/.cache."),
    ("DIB_DEBUG", "If set, print the traceback of a bug."),
    ("TMPDIR", "Folder of temporary files. Default: /var/tmp. --tmp has precedence."),
    ("NO_COLOR", "If set, print no colors."),
    ("TERM", "If dumb, draw no progress bars."),
    ("REGISTRY_AUTH_FILE", "File of registry credentials, instead of the files below."),
    ("XDG_RUNTIME_DIR", "Folder of podman's credentials: containers/auth.json."),
    ("XDG_CONFIG_HOME", "Folder of credentials: containers/auth.json. Default: ~/.config."),
    ("DOCKER_CONFIG", "Folder of docker's credentials: config.json. Default: ~/.docker."),
    ("HOME", "Home folder, of the defaults above."),
    ("PATH", "Folders in which engines, credential helpers and ssh-keygen are searched."),
)

FILES: Final = (
    ("/etc/dib/policy.toml", "The policy of this machine, which options and environment cannot weaken."),
    ("/run/containers/UID/auth.json", "Registry credentials of podman and skopeo."),
    ("~/.config/containers/auth.json", "Registry credentials of podman, skopeo and buildah."),
    ("~/.docker/config.json", "Registry credentials of docker, and its credential helpers."),
    ("OUT.001, OUT.002, ...", "The parts of a bundle that was split; naming one of them is enough."),
    ("BUNDLE.sig", "A detached signature, which is read if it is next to the bundle."),
)
