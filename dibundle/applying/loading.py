"""Load a bundle's target into an engine. Until everything is verified, the engine gets nothing that it could load.

If an image is expected by digest, this module writes an archive for the engine. Otherwise, the engine gets the target's
own bytes. The bytes from the first JSON document on are withheld until all bytes are verified.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from dibundle.applying import messages
from dibundle.applying.base import find_base
from dibundle.applying.chain import follow
from dibundle.applying.expected import Expectation, UnexpectedError, named_digest, verified_digests
from dibundle.applying.gate import Gate
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.applying.rewrite import Loaded, loaded, needed, pin, rebuild_images, stored_images
from dibundle.applying.space import Space
from dibundle.applying.targets import choose_target
from dibundle.errors import ArchiveError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.files.context import Context
from dibundle.files.progress import Progress
from dibundle.files.readat import ReadAt
from dibundle.format.reader import BundleReader
from dibundle.format.values import AboutImage
from dibundle.images import pinned, writers
from dibundle.images.archive import Archive, view_made
from dibundle.images.model import ImageArchive, chain_ids
from dibundle.images.pinned import PinnedImage
from dibundle.images.profile import Judge, canonical_name
from dibundle.images.reader import read_images
from dibundle.sources.access import Access, SignatureCheck
from dibundle.sources.engines import (
    LAYERS_ABSENT,
    LoadError,
    default_engine,
    layers_present,
    require_engine,
    require_layers,
)
from dibundle.sources.loader import Loader
from dibundle.sources.names import path_of
from dibundle.sources.opening import Source, open_sources
from dibundle.sources.registry.reference import image_name

MAX_NAMES: Final = 64
"""The maximum number of names of an image, and of images to check. Each check starts a process."""

_OWN_NAMES: Final = "localhost/dib:"  # names that dib gives to images without a name, and to images while they load
_RESERVED: Final = ("dib:sha256-", "dib:loading-")  # the beginning of these names in canonical spelling
_Named = tuple[PinnedImage, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions(RebuildOptions):
    """The options of a load.

    ``engine`` is docker, podman or ctr. If ``engine`` is None, the engine of a source is used. If no source is in an
    engine, the first installed engine is used. ``thin`` leaves out the layers of the base, which the engine must
    already have.
    """

    engine: str | None = None
    thin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The loaded images, with one entry for each name, and the signers of the bundles.

    If ``is_checked`` is true, the images were expected, and the engine got only these images. Otherwise, the images are
    taken from the bundle's description. In this case, the engine was only checked for images with these names.
    """

    engine: str
    images: tuple[AboutImage, ...]
    is_checked: bool
    signed_by: tuple[str, ...]


def load(
    sources: Sequence[Source],
    options: LoadOptions,
    access: Access,
    context: Context,
    *,
    candidates: Sequence[Source] = (),
) -> LoadResult:
    """Load the target of the last bundle into an engine, and check that the engine has the target.

    ``candidates`` are possible bases: archives, and bundles that rebuild an archive. Missing candidates are skipped.
    Raises the same errors as applying a bundle. Raises :class:`LoadError` if the engine refuses the archive, or if the
    engine has a different image after loading.
    """
    require_engine(options.engine)
    opened = open_sources(sources, access, context, candidates=candidates)
    names = [source for source in (*sources, *candidates) if isinstance(source, str)]
    engine = options.engine or default_engine(names)
    limits = RebuildOptions(max_size=options.max_size)

    def loading_of(bundles: Sequence[BundleReader], given: Sequence[Archive], *, only_claims: bool = False) -> Loading:
        archives, bundle = follow(given, bundles, limits, context, spare=opened.spare, only_claims=only_claims)
        return Loading(
            engine=engine,
            given=given,
            bases=archives,
            bundle=bundle,
            options=options,
            context=context,
            without=loaded(given) if options.thin else None,
            repositories=None if opened.check or only_claims else repositories_of(opened.plain_archives, engine),
            signatures=opened.signatures,
        )

    def require_thin(bundles: Sequence[BundleReader], claimed: Sequence[Archive]) -> None:
        loading_of(bundles, claimed, only_claims=True).require_thin(believe=True)

    bundles = opened.read_bundles(require_thin if options.thin else None)
    loading = loading_of(bundles, opened.archives)
    images, is_checked = loading.load()
    signed_by = opened.signatures.signed_by(bundles)
    return LoadResult(engine=loading.engine, images=tuple(images), is_checked=is_checked, signed_by=signed_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """A bundle to load into an engine.

    ``given`` are the archives among the sources. ``bases`` are the ``given`` archives and the intermediate targets of
    other bundles. ``without`` are images that the engine already has. The layers of these images are left out. An
    expected image may only have names in ``repositories``, which come from :func:`repositories_of`. If a trusted
    signature covers the bundle, ``repositories`` is None, which allows all names. ``signatures`` checks whether the
    bundle's signer may use the names for the engine.
    """

    engine: str
    given: Sequence[Archive]
    bases: Sequence[Archive]
    bundle: BundleReader
    options: LoadOptions
    context: Context
    without: Loaded | None
    repositories: frozenset[str] | None
    signatures: SignatureCheck

    def load(self) -> tuple[list[AboutImage], bool]:
        """Load the target. Return the images that were checked in the engine, and whether they were expected."""
        manifest = self.bundle.manifest
        number = choose_target(manifest, self.options)
        self.require_thin()
        images = self._told()
        if self._is_expected(number):
            return self._load_expected(
                number, self.options.expectation.without_archive(manifest.targets[number].digest)
            ), True
        if self.without:
            return self._load_thin(number), False
        is_nameless = 0 < len(images) <= MAX_NAMES and not any(image.names for image in images)
        if self.engine == "ctr" and is_nameless and not self._is_named_by_digest(number):
            # containerd does not keep an image without a name, so write an archive in which each image has a name
            return self._load_expected(number, Expectation(frozenset(image.id for image in images))), False
        if not images:
            self.context.progress.note(f"the bundle does not list its images, so {self.engine} is not asked for any")
        with Loader(self.engine) as loader:
            self._pass_on(loader)
            loader.finish()
            asked = _one_by_one(images)
            for image in asked:
                loader.check(image)
        return asked, False

    def require_thin(self, *, believe: bool = False) -> None:
        """Raise :class:`LoadError` if the engine lacks a layer that is left out.

        With ``believe``, use only the base's claims.
        """
        if not self.without:
            return
        manifest = self.bundle.manifest
        number = choose_target(manifest, self.options)
        chains = needed(manifest, number, self.without)
        try:
            require_layers(self.engine, chains, *_base_with(self.given, chains))
        except LoadError:  # if the base also lacks these layers, report a wrong base instead
            find_base(manifest, self.bases, self.context, [number], believe=believe).close()
            raise
        if not self._is_expected(number) and not (self._told() and all(image.names for image in self._told())):
            # a name is needed to check that the engine has the whole image
            raise LoadError(messages.LOAD_THIN_WITHOUT_NAME, engine=self.engine, exit_code=6)

    def _is_expected(self, number: int) -> bool:
        """Return whether an image is expected by its own digest. An expected digest of the archive does not count."""
        target = self.bundle.manifest.targets[number]
        return bool(self.options.expectation.without_archive(target.digest))

    def _is_named_by_digest(self, number: int) -> bool:
        """Return whether the target's own digest is expected or chosen. If so, the engine gets all images."""
        named = self.options.expect | {named_digest(self.options.target)}
        return self.bundle.manifest.targets[number].digest in named

    def _pass_on(self, loader: Loader) -> None:
        """Write the target's own bytes to a loader. Warn if two readers may find different images in these bytes."""
        target = self.bundle.manifest.targets[choose_target(self.bundle.manifest, self.options)]
        with closing(Gate(loader.write, self.context.tmp)) as gate:
            withheld = Space(withheld=target.size)
            rebuild_target(self.bases, self.bundle, gate.write, self.options, self.context, space=withheld)
            self._judge(gate.finish())
            gate.open()

    def _judge(self, archive: ReadAt) -> frozenset[bytes]:
        """Compare a target's images with the bundle's description, and return the images' config digests.

        Warn if two readers may find different images. If a signature must cover the names, raise
        :class:`SignatureError` instead of the warning.
        """
        number = choose_target(self.bundle.manifest, self.options)
        target = self.bundle.manifest.targets[number]
        try:
            images = Judge(archive, verified_digests(target), hashed=False).images()
        except ArchiveError as error:
            if self.without and self._is_named_by_digest(number):  # the engine does not get the archive itself
                raise UnexpectedError(messages.EXPECT_UNCLEAR, reason=error.message) from error
            if self.signatures.judges_names:
                unclear = SignatureError(messages.LOAD_NAMES_UNCLEAR, reason=error.message)
                raise unclear.within(self.bundle.name or "the bundle") from error
            self.context.progress.note(
                f"engines could find different images in this archive: {error.message};"
                " to load one image only: --expect ID"
            )
            if not self._told():
                return frozenset()
            found = read_images(view_made(archive, "the target")).images
            there = [(image.names, image.config_digest) for image in found if image.config]
        else:
            there = [(image.names, image.config) for image in images]
        self._check_claims(there)
        nameless = next((config for names, config in there if not names), None)
        if self.engine == "ctr" and nameless is not None:  # containerd would not keep this image
            raise LoadError(messages.LOAD_WITHOUT_NAME, engine=self.engine, id=nameless.hex(), exit_code=6)
        return frozenset(config for _, config in there)

    def _told(self) -> tuple[AboutImage, ...]:
        """Return the target's images from the bundle's description."""
        about = self.bundle.manifest.about
        return about.targets[choose_target(self.bundle.manifest, self.options)] if about else ()

    def _check_claims(self, there: Sequence[tuple[Collection[str], bytes]]) -> None:
        """Refuse a bundle whose description differs from its images: users rely on the printed IDs.

        ``there`` has the names and the config digest of each image.
        """
        self.signatures.require_names_of(self.bundle, (name for names, _ in there for name in (names or ("",))))
        owners = {canonical_name(name): config for names, config in there for name in names}
        configs = {config for _, config in there}
        for image in self._told():
            named = [owners.get(canonical_name(name), image.id) for name in image.names]
            others = [config for config in named if config != image.id]
            if image.id not in configs or others:
                found = digest.text(min(others or configs, default=b""))
                raise UnexpectedError(messages.LOAD_CLAIMED_IMAGE, id=digest.text(image.id), found=found)

    def _load_expected(self, number: int, expected: Expectation) -> list[AboutImage]:
        """Write an archive with only the expected images, and load this archive."""
        with self.context.within() as own:
            archive, holes = rebuild_images(self.bases, self.bundle, self.options, own, without=self.without)
            found = self._pinned(archive, holes, number, expected)
            if self.repositories is not None:
                found = [
                    (image, allowed_names(image, names, self.repositories, self.engine, own.progress))
                    for image, names in found
                ]
            return self._hand_over(found)

    def _load_thin(self, number: int) -> list[AboutImage]:
        """Write an archive with all images under their own names, without the base's layers, and load this archive."""
        with self.context.within() as own:
            archive, holes = rebuild_images(self.bases, self.bundle, self.options, own, without=self.without)
            configs = self._judge(archive.archive.bytes)
            self._check_claims([(image.names, image.config_digest) for image in archive.images if image.config])
            return self._hand_over(self._pinned(archive, holes, number, Expectation(configs)), is_expected=False)

    def _pinned(
        self, archive: ImageArchive, holes: Sequence[tuple[int, int]], number: int, expected: Expectation
    ) -> list[_Named]:
        return pin(archive, expected, self.bases, holes, self.bundle.manifest.targets[number], self.without)

    def _hand_over(self, images: Iterable[_Named], *, is_expected: bool = True) -> list[AboutImage]:
        found = [(image, tuple(name for name in names if _is_free(name, image))) for image, names in images]
        require_names = partial(self.signatures.require_names_of, self.bundle)
        return hand_over(found, self.engine, require_names, is_expected=is_expected)


def _one_by_one(images: Iterable[AboutImage]) -> list[AboutImage]:
    """Return an entry for each name, and for each image without a name. The list has at most ``MAX_NAMES`` entries."""
    found: dict[tuple[tuple[str, ...], bytes], AboutImage] = {}
    for image in images:
        for number in range(max(1, len(image.names))):
            names = image.names[number : number + 1]
            found.setdefault((names, image.id), image._replace(names=names))
    return list(islice(found.values(), MAX_NAMES))


def _base_with(archives: Sequence[Archive], chains: Sequence[tuple[bytes, ...]]) -> tuple[str, str | None]:
    """Return a phrase for the image that has the given layers, and the image's file or None."""
    wanted = {[*chain_ids(chain)][-1] for chain in {*chains} if chain}
    for archive in archives:
        images = read_images(archive).images
        for image in {(image.config_digest, id(image.diff_ids)): image for image in images}.values():
            if not wanted.isdisjoint(chain_ids(image.diff_ids)):
                path = path_of(archive.name)
                name = image.names[0] if image.names else "an image"
                return f"{name} ({digest.text(image.config_digest)[:19]})", path if Path(path).is_file() else None
    return "an image", None


def _is_name(text: str) -> bool:
    """Return whether all engines accept a text as the name of an image."""
    try:
        return bool(image_name(text))
    except UsageError:
        return False


def _is_free(name: str, image: PinnedImage) -> bool:
    """Return whether an image may get a name. A name that dib makes from an image's ID is reserved for this image."""
    if not _is_name(name):
        return False
    found, before = canonical_name(name), ""
    while found != before:  # docker drops the prefix docker.io even if another host follows
        found, before = canonical_name(found), found
    return found == canonical_name(_name_of(image)) or not found.startswith(_RESERVED)


def _name_of(image: PinnedImage) -> str:
    return f"{_OWN_NAMES}sha256-{image.id.hex()}"


def _name_all(images: Sequence[_Named], engine: str) -> list[_Named]:
    """Return images with names. If the engine needs a name, an image without a name gets one.

    containerd needs names for all images. For any engine, dib needs a name to check that a thin image is complete.
    """
    is_thin = any(layer.content is None for image, _ in images for layer in image.layers)
    if engine != "ctr" and not is_thin:
        return list(images)
    return [(image, names or (_name_of(image),)) for image, names in images]


def hand_over(
    images: Sequence[_Named],
    engine: str,
    require_names: Callable[[Iterable[str]], object],
    *,
    is_expected: bool = True,
) -> list[AboutImage]:
    """Write images with their names into an archive and load it. Check each image by its digests.

    ``require_names`` gets all names for the engine ("" for an image without a name). ``require_names`` raises an error
    to refuse the names. With ``is_expected``, the engine must report each layer that is left out.
    """
    images = _name_all(images, engine)
    if engine == "podman":  # annotations need full names: podman would complete short names with the wrong registry
        images = [(image, tuple(writers.whole_name(name, engine) for name in names)) for image, names in images]
    require_names(name for _, names in images for name in (names or ("",)))
    count = sum(max(1, len(names)) for _, names in images)
    if count > MAX_NAMES:
        raise LoadError(messages.LOAD_MANY_NAMES, count=count, max_names=MAX_NAMES, exit_code=5)
    for image, _ in images if is_expected else ():
        require_left_out(image, engine)
    # load under temporary names first, so that an existing name does not move from another image to an unusable image
    token = secrets.token_hex(8)
    given = []
    for number, (image, names) in enumerate(images):
        own = names
        if names and engine != "podman":
            own = (f"{_OWN_NAMES}loading-{token}-{number}",)
        elif any(layer.content is None for layer in image.layers):
            own = names[:1]  # podman accepts a thin image only in an OCI layout that has one image and one name
        given.append((image, own))
    renamed = [(names, own[0]) for (_, names), (_, own) in zip(images, given, strict=True) if own != names]
    is_thin = any(layer.content is None for image, _ in given for layer in image.layers)
    loader = Loader(engine)
    try:
        for part in [[item] for item in given] if engine == "podman" and is_thin else [given]:
            with loader:
                writers.write(pinned.layout(part), "docker-archive", loader.write)
                loader.finish()
        for image, names in given:
            loader.check_digests(names, image.ids)
            if any(layer.content is None for layer in image.layers):
                loader.check_whole(names)
        for names, loaded_as in renamed:
            loader.name([name for name in names if name != loaded_as], loaded_as)
        for image, names in images if renamed else ():
            loader.check_digests(names, image.ids)
    finally:
        loader.forget([loaded_as for names, loaded_as in renamed if loaded_as not in names])
    return [AboutImage(names=names, id=image.id, diff_ids=image.diff_ids) for image, names in images]


def require_left_out(image: PinnedImage, engine: str) -> None:
    """Raise :class:`LoadError` if the engine does not report all layers that were left out of an image."""
    absent = [number for number, layer in enumerate(image.layers) if layer.content is None]
    if not absent:
        return
    present = layers_present(engine, image.diff_ids, [layer.digest for layer in image.layers])
    if absent[-1] >= present:
        raise LoadError(
            messages.ENGINE_LAYER_ABSENT,
            engine=engine,
            absent=absent[-1],
            id=digest.text(image.id),
            exit_code=LAYERS_ABSENT,
        )


def allowed_names(
    image: PinnedImage, names: Collection[str], allowed: Collection[str], engine: str, progress: Progress
) -> tuple[str, ...]:
    """Return the names in the base's repositories. An ID does not cover names, so all other names are unsafe."""
    fitting = [name for name in names if _is_name(name) and repository_of(name, engine) in allowed]
    taken = list(dict.fromkeys(fitting))[:MAX_NAMES]
    others = [name for name in dict.fromkeys(names) if name not in taken[:MAX_NAMES]][: MAX_NAMES + 1]
    if others:
        more = f" and {'many' if len(others) > MAX_NAMES else len(others) - 1} more" if len(others) > 1 else ""
        progress.note(
            f"the image does not get the name {others[0]}{more}: the base is in another repository, and --expect"
            f" does not cover names; to name it: docker tag {digest.text(image.id)} NAME"
        )
    return tuple(name if ":" in name.rpartition("/")[2] else f"{name}:latest" for name in taken)


def repositories_of(archives: Sequence[Archive], engine: str) -> frozenset[str]:
    """Return the repositories in the names of the archives' images."""
    images = [image for archive in stored_images(archives) for image in archive.images]
    return frozenset(repository_of(name, engine) for image in images for name in image.names)


def repository_of(name: str, engine: str = "docker") -> str:
    """Return a reference without its tag. A short reference is expanded in the same way as an engine expands it."""
    return writers.whole_name(name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, engine)
