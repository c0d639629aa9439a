"""Loading what a bundle makes into an engine, which gets nothing that it could load before all of it is verified.

Where an image is expected by digest, the engine gets an archive that is written here. Else it gets the target's own
bytes, with everything from the first document on withheld until the last byte is verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final

from dibundle.applying import messages
from dibundle.applying.gate import Gate
from dibundle.applying.pipeline import ApplyOptions, apply, choose_target, expectation, find_base
from dibundle.applying.rewrite import Loaded, apply_as, needed, pin, rebuild_images, stored_images
from dibundle.errors import ArchiveError
from dibundle.files import digest
from dibundle.files.progress import Progress, Silent
from dibundle.format.manifest import AboutImage
from dibundle.format.reader import BundleReader
from dibundle.images import pinned, writers
from dibundle.images.archive import Archive
from dibundle.images.pinned import PinnedImage
from dibundle.images.profile import Judge
from dibundle.sources.engines import Loader, LoadError, layers_present, require_layers

MAX_NAMES: Final = 64
"""Names that an image is given, and images that an engine is asked for: each takes a process."""
_REFERENCE: Final = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load: ``engine`` is docker, podman or ctr.

    ``thin``: what the receiver has loaded, whose layers are left out. ``repositories``: where the names of an expected
    image may be, as :func:`repositories_of` gives them; None if anywhere, as someone trusted has signed the bundle.
    """

    engine: str
    thin: Loaded | None = None
    repositories: frozenset[str] | None = frozenset()


def load(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions,
    how: LoadOptions,
    progress: Progress | None = None,
    describe_base: Callable[[Sequence[tuple[bytes, ...]]], tuple[str, str | None]] = lambda chains: ("an image", None),
) -> list[AboutImage]:
    """Load a target into an engine and check that it is there; return its images.

    Raises what applying raises, and :class:`LoadError` where the engine refuses it or has another image afterwards.
    ``describe_base`` returns what to call the base that has some layers, and the file that it is in.
    """
    progress = progress or Silent()
    number = choose_target(bundle.manifest, options)
    if how.thin:
        chains = needed(bundle.manifest, number, how.thin)
        try:
            require_layers(how.engine, chains, *describe_base(chains))
        except LoadError:
            find_base(bundle.manifest, bases, options, [number]).close()  # first report a base without them
            raise
    if expectation(options).without_archive(bundle.manifest.targets[number].digest):
        return _load_expected(bases, bundle, options, how, progress)
    about = bundle.manifest.about
    images = list(about.targets[number]) if about else []
    with Loader(how.engine) as loader:
        if how.thin:
            apply_as(bases, bundle, "docker-archive", loader.write, options, progress, without=how.thin)
        else:
            _pass_on(bases, bundle, options, loader, progress)
        loader.finish()
        for image in list({(image.names[:1], image.id): image for image in images}.values())[:MAX_NAMES]:
            loader.check(image)
        if how.thin:
            loader.check_whole([name for image in images for name in image.names[:1]][:MAX_NAMES])
    return images


def _pass_on(
    bases: Sequence[Archive], bundle: BundleReader, options: ApplyOptions, loader: Loader, progress: Progress
) -> None:
    """Give a loader the target's own bytes; warn where readers may find different images in them."""
    with closing(Gate(loader.write, options.tmp)) as gate:
        apply(bases, bundle, gate.write, options, progress)
        archive = gate.finish()
        try:
            Judge(archive, hashed=False).images()
        except ArchiveError as error:
            progress.note(
                f"not every engine would find the same images in this archive: {error.message};"
                " --expect ID loads the image of that ID alone"
            )
        gate.open()


def _load_expected(
    bases: Sequence[Archive],
    bundle: BundleReader,
    options: ApplyOptions,
    how: LoadOptions,
    progress: Progress,
) -> list[AboutImage]:
    number = choose_target(bundle.manifest, options)
    target = bundle.manifest.targets[number]
    with ExitStack() as stack:
        archive, holes = rebuild_images(bases, bundle, options, stack, progress, how.thin)
        expected = expectation(options).without_archive(target.digest)
        found = pin(archive, expected, bases, holes, target, how.thin)
        if how.repositories is not None:
            found = [(image, _allowed_names(image, names, how.repositories, progress)) for image, names in found]
        return hand_over(found, how.engine, progress)


def hand_over(
    images: Sequence[tuple[PinnedImage, tuple[str, ...]]], engine: str, progress: Progress
) -> list[AboutImage]:
    """Load images, each under its names, in an archive written here; check each by its digests."""
    if engine == "ctr":  # containerd has no image without a name
        images = [(image, names or (f"localhost/dib:sha256-{image.id.hex()}",)) for image, names in images]
    for image, _ in images:
        require_left_out(image, engine)
    with Loader(engine) as loader:
        writers.write(pinned.layout(images), "docker-archive", loader.write)
        loader.finish()
        for image, names in images:
            loader.check_digests(names, image.ids)
            if any(layer.content is None for layer in image.layers):
                loader.check_whole(names)
    return [AboutImage(names=names, id=image.id, diff_ids=image.diff_ids) for image, names in images]


def require_left_out(image: PinnedImage, engine: str) -> None:
    """Raise :class:`LoadError` unless an engine itself reports all layers that an image comes without."""
    absent = [number for number, layer in enumerate(image.layers) if layer.content is None]
    if not absent:
        return
    present = layers_present(engine, image.diff_ids, [layer.digest for layer in image.layers])
    if absent[-1] >= present:
        raise LoadError(
            messages.ENGINE_LAYER_ABSENT, engine=engine, absent=absent[-1], id=digest.text(image.id), exit_code=6
        )


def _allowed_names(
    image: PinnedImage, names: Collection[str], allowed: Collection[str], progress: Progress
) -> tuple[str, ...]:
    """Return the names in the repositories of the base: an image ID says nothing about names."""
    fitting = [name for name in names if _REFERENCE.fullmatch(name) and _repository(name) in allowed]
    taken = list(dict.fromkeys(fitting))[:MAX_NAMES]
    others = [name for name in dict.fromkeys(names) if name not in taken[:MAX_NAMES]][: MAX_NAMES + 1]
    if others:
        more = f" and {'many' if len(others) > MAX_NAMES else len(others) - 1} more" if len(others) > 1 else ""
        progress.note(
            f"the name {others[0]}{more} is not given to the image: the base is in another repository, and --expect"
            f" does not cover names; docker tag {digest.text(image.id)} NAME gives it one"
        )
    return tuple(name if ":" in name.rpartition("/")[2] else f"{name}:latest" for name in taken)


def repositories_of(archives: Sequence[Archive]) -> frozenset[str]:
    """Return the repositories that the images of archives have names in."""
    images = [image for archive in stored_images(archives) for image in archive.images]
    return frozenset(_repository(name) for image in images for name in image.names)


def _repository(name: str) -> str:
    """Return a reference without its tag, and whole where it is short as docker has it."""
    repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    host, slash, _ = repository.partition("/")
    if not slash:
        return f"docker.io/library/{repository}"
    is_host = "." in host or ":" in host or host == "localhost"
    return repository if is_host else f"docker.io/{repository}"
