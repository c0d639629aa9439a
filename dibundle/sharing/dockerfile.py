"""Dockerfiles that create and apply bundles during a build, for pipelines that can only build images.

A build sees only the files of an image, but an exact rebuild needs the bytes of the layers. So the sources are images
in registries, or archives in the build context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dibundle.errors import UsageError
from dibundle.format import labels
from dibundle.sharing import messages
from dibundle.sources.names import SCHEME
from dibundle.sources.parts import first_of, is_first
from dibundle.sources.registry.reference import Reference
from dibundle.sources.wrapped import FILE

IMAGE: Final = "dib"
_SPACE: Final = "/tmp"  # noqa: S108 - in a stage of a build, which has no other users
_FOLDER: Final = f"{_SPACE}/dib"
_BUNDLE: Final = f"{_SPACE}/bundle.dib"
_ARCHIVE: Final = "image.tar"
_LOGINS: Final = "/run/secrets/dib"
_HINT: Final = (
    "give the path of a file in the build context, or an image in a registry: docker://registry.example/app:1"
)

# matches names that have no special meaning for builders or for dib
_PLAIN: Final = re.compile(r"""(?!-)[^\x00-\x1f\x7f\ud800-\udfff\\"'$*?\[\]:]+""")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_PLATFORM: Final = re.compile(r"[a-z0-9]+(?:/[a-z0-9._-]+){1,2}")
_SECRET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Build(NamedTuple):
    """Values for every Dockerfile: dib's image, dib's options and, for BuildKit, the secret with logins."""

    image: str = IMAGE
    options: Sequence[str] = ()
    secret: str | None = None

    def stage(self, arguments: Sequence[str], sources: Sequence[str], *more: str, name: str = "") -> Iterator[str]:
        """Yield the first stage, which runs dib.

        In later instructions, ``name`` means this stage, not an image of the same name.
        """
        mount = ""
        yield f"FROM {_name(self.image)}" + (f" AS {name}" if name else "")
        yield "USER 0:0"  # root, because only the owner can read the files that docker save writes
        yield f"WORKDIR {_FOLDER}"
        if self.secret is not None:
            yield f"ENV REGISTRY_AUTH_FILE={_LOGINS}"
            mount = f"--mount=type=secret,id={_secret(self.secret)},target={_LOGINS} "
        yield from dict.fromkeys(_copy(source) for source in sources if not _is_reference(source))
        yield f"RUN {mount}{_words('dib', *arguments, *self.options, '--', *sources, *more)}"

    def command(self, sources: Sequence[str], *words: str) -> str:
        """Return the command that builds the Dockerfile, as a comment."""
        secret = f" --secret id={self.secret},src=$HOME/.docker/config.json" if self.secret is not None else ""
        context = "- < Dockerfile" if all(map(_is_reference, sources)) else "-f Dockerfile ."
        # with a cache, the builder would use the image that the name referred to at the last build
        fresh = " --no-cache" if any(map(_is_reference, sources)) else ""
        return f"#   docker build{fresh}{secret} {' '.join(words)} {context}"


def wrapping(build: Build, old: str, new: str, *, linked: bool, base: str | None = None, platform: str | None) -> str:
    """Return a Dockerfile that builds an image with a bundle from ``old`` to ``new`` (see :mod:`sources.wrapped`).

    If ``old`` is not a reference, ``base`` is the builder's name for the image to link to.
    """
    below = _below(old, base) if linked else "scratch"
    where = f"--platform={_platform(platform)} " if linked and platform else ""
    known = {labels.NEEDS: old, labels.MAKES: new}
    told = [f'{key}="{text.removeprefix(SCHEME)}"' for key, text in known.items() if _is_reference(text)]
    lines = [
        f"# Makes the bundle between two images, and an image of it, {'linked' if linked else 'unlinked'}:",
        build.command((old, new), "-t NAME"),
        *build.stage(["create"], [old, new], _BUNDLE),
        "",
        f"FROM {where}{below}",
        f"COPY --from=0 {_BUNDLE} /{FILE}",
        " ".join(["LABEL", f'{labels.BUNDLE}="{labels.BUILT}"', *told]),
    ]
    return "\n".join(lines) + "\n"


def applying(build: Build, sources: Sequence[str]) -> str:
    """Return the Dockerfile that rebuilds an archive.

    The build writes the archive to a file (with BuildKit), or to stdout (with any builder).
    """
    built = f"{_SPACE}/{_ARCHIVE}"
    lines = [
        f"# Rebuilds an image archive, byte for byte. With BuildKit it is {_ARCHIVE} in this folder:",
        f"{build.command(sources, '-o .')} && docker load -i {_ARCHIVE}",
        "# With any builder:",
        f"{build.command(sources, '--target run -t rebuilt')} && docker run --rm rebuilt | docker load",
        *build.stage(["apply", "-o", built], sources, name="run"),
        f"ENTRYPOINT {_words('cat', built)}",
        "",
        "FROM scratch",
        f"COPY --from=0 {built} /{_ARCHIVE}",
    ]
    return "\n".join(lines) + "\n"


def _copy(source: str) -> str:
    """Return the instruction that copies a file, or all parts of a bundle, into the build."""
    first = first_of(_path(source))
    if not is_first(first):
        return f"COPY {_words(source, source)}"
    folder = source.rpartition("/")[0] or "."
    return f"COPY {_words(first.removesuffix('001') + '[0-9][0-9][0-9]', folder + '/')}"


def _words(*words: str) -> str:
    """Return the words of an instruction as JSON. So no shell parses them, and BuildKit sees no here-document."""
    return json.dumps(words).replace("<", "\\u003c")


def _is_reference(source: str) -> bool:
    """Return whether a source is in a registry. Raise :class:`UsageError` for an invalid reference to a registry."""
    if not source.startswith(SCHEME):
        return False
    Reference.parse(source)
    return True


def _path(source: str) -> str:
    """Return a path in the build context. Refuse a path outside the build context."""
    if not _PLAIN.fullmatch(source) or source.startswith("/") or ".." in source.split("/"):
        raise UsageError(messages.DOCKERFILE_SOURCE, source=source)
    return source


def _below(old: str, base: str | None) -> str:
    """Return the name of the base image to which the built image is linked."""
    if base is None and not _is_reference(old):
        raise UsageError(messages.DOCKERFILE_BASE_NAME, old=old)
    return _name(old if base is None else base)


def _name(image: str) -> str:
    """Return an image's name in the form that builders accept."""
    name = image.removeprefix(SCHEME)
    if not _NAME.fullmatch(name):
        raise UsageError(messages.DOCKERFILE_IMAGE_NAME, image=image)
    return name


def _platform(text: str) -> str:
    if not _PLATFORM.fullmatch(text):
        raise UsageError(messages.PLATFORM_UNKNOWN, found=text)
    return text


def _secret(text: str) -> str:
    if not _SECRET.fullmatch(text):
        raise UsageError(messages.DOCKERFILE_SECRET, found=text)
    return text
