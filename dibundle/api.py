"""The public functions that ``dibundle`` exports. Each function is a use case, and its options are keyword arguments.

``access`` has settings for reaching sources, and required signers beyond the policy. ``progress`` gets the phase and
the number of bytes done. ``tmp`` is the folder of temporary files. All errors are subclasses of :class:`DibError`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

from dibundle.applying import check as checking
from dibundle.applying import loading, messages, pipeline
from dibundle.applying import verify as verifying
from dibundle.applying.chain import follow
from dibundle.applying.check import CheckResult
from dibundle.applying.expected import Expected, parse_all
from dibundle.applying.loading import LoadOptions, LoadResult
from dibundle.applying.options import RebuildOptions, limit
from dibundle.applying.pipeline import ApplyOptions, ApplyResult, Folder, OutputFormat
from dibundle.applying.rebuilding import rebuild_steps
from dibundle.applying.targets import choose_target
from dibundle.applying.verify import VerifyResult
from dibundle.creating import estimate as estimating
from dibundle.creating import inventory as inventories
from dibundle.creating import merge as merging
from dibundle.creating import pipeline as creating
from dibundle.creating.estimate import Estimate
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import CreateResult
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.files.destination import Destination, FilePath, Writable, output_to
from dibundle.files.progress import Progress
from dibundle.format.output import Piece
from dibundle.inspecting import image_diff
from dibundle.inspecting import report as reporting
from dibundle.inspecting.bundle import Bundle
from dibundle.inspecting.image_diff import Changes
from dibundle.inspecting.report import ReportResult
from dibundle.sharing import push as pushing
from dibundle.sharing import sign as signing
from dibundle.sharing import unwrap as unwrapping
from dibundle.sharing import wrap as wrapping
from dibundle.sharing.push import PushResult
from dibundle.sharing.sign import SignOptions, SignResult
from dibundle.sharing.unwrap import TakenBundle
from dibundle.sharing.wrap import PushedWrap, WrapOptions
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_sources, several

if TYPE_CHECKING:
    from dibundle.sharing.update import UpdateResult
    from dibundle.sharing.ways import UpdatePlan


def create(
    base: Source | Iterable[Source] | None,
    target: Source | Iterable[Source],
    out: FilePath | Writable,
    *,
    level: int | None = None,
    profile: Literal["full", "core"] = "full",
    names: Literal["auto", "all", "none"] = "auto",
    workers: int = 0,
    inventory: FilePath | None = None,
    recompress: bool = True,
    raw_layers: bool = False,
    executor: Executor | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> CreateResult:
    """Create the bundle ``out``, which rebuilds ``target`` from ``base``, and return the result.

    If ``base`` is None, the bundle can be applied without a base. If ``out`` is a path, the file appears only when the
    bundle is complete. ``level`` is 1 (fast) to 9 (small). Simple decoders can apply bundles of the ``profile`` "core".
    The file ``inventory`` is the result of :func:`inventory`. With ``raw_layers``, rebuilt images have plain layers.

    The result does not depend on ``workers`` (threads; 0: one per core) or ``executor`` (from concurrent.futures). The
    executor gets at most ``workers`` frames at a time. Each frame is passed as a function and bytes. The executor's
    machines need the same dib and zstandard. A process pool needs spawn or forkserver, and a ``__main__`` guard.

    Raises ``ArchiveError`` if an input is not an image archive, and ``UsageError`` for an invalid level or number of
    workers. Raises ``FileError`` if a system call fails or a stream would block. The caller's exceptions are passed on.
    """
    options = CreateOptions(level=level, profile=profile, names=names, workers=workers, recompress=recompress)
    options = replace(options, inventory=inventories.read_given(inventory), raw_layers=raw_layers)
    with Context(tmp, progress) as context:
        sides, access = (several(base), several(target)), access or Access()
        return creating.create(*sides, output_to(out), options, access, context, executor=executor)


def estimate(
    base: Source | Iterable[Source] | None,
    target: Source | Iterable[Source],
    *,
    level: int | None = None,
    profile: Literal["full", "core"] = "full",
    workers: int = 0,
    inventory: FilePath | None = None,
    recompress: bool = True,
    raw_layers: bool = False,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> Estimate:
    """Estimate a bundle's size and the time to create it, from a sample of its frames."""
    there = inventories.read_given(inventory)
    options = CreateOptions(
        level=level, profile=profile, workers=workers, inventory=there, recompress=recompress, raw_layers=raw_layers
    )
    with Context(tmp, progress) as context:
        return estimating.estimate(several(base), several(target), options, access or Access(), context)


def apply(
    sources: Source | Iterable[Source],
    *,
    bases: Source | Iterable[Source] | None = None,
    target: str | None = None,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> Iterator[bytes]:
    """Rebuild an archive from the bundles and archives in ``sources``, and yield its exact bytes.

    Bundles are recognised by their content. Several bundles are applied as a chain. If a bundle is split into parts,
    give any one of them. Each base is an archive, or a bundle that rebuilds it. Missing bases are skipped. If there are
    several targets, ``target`` chooses one. If ``expect`` is given, the archive, or every image in it, must have one of
    the digests in ``expect``. The last bytes are yielded only after all other bytes are verified.

    Nothing is opened before the first byte is requested. Later, a wrong base raises ``BaseMismatchError``, and a
    malformed or damaged bundle raises ``BundleError`` or ``DigestError``. ``SignatureError`` is raised if a required
    trusted signature is missing, or if ``expect`` does not allow the archive.
    """
    options = RebuildOptions(target=target, expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        opened = open_sources(several(sources), access or Access(), context, candidates=several(bases))
        bundles, limits = opened.read_bundles(), RebuildOptions(max_size=options.max_size)
        archives, bundle = follow(opened.archives, bundles, limits, context, spare=opened.spare)
        pieces: deque[bytes] = deque()

        def keep(piece: Piece) -> None:
            pieces.append(bytes(piece))  # copy the view, because its buffer may be reused

        for _ in rebuild_steps(archives, bundle, {choose_target(bundle.manifest, options): keep}, options, context):
            while pieces:
                yield pieces.popleft()
        yield from pieces


def apply_to(
    sources: Source | Iterable[Source],
    out: FilePath,
    *,
    bases: Source | Iterable[Source] | None = None,
    form: OutputFormat | None = None,
    thin: bool = False,
    target: str | None = None,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> ApplyResult:
    """Rebuild targets as :func:`apply` does, and write them to ``out``. The output appears only when it is complete.

    If ``out`` is a folder, each target becomes a file in this folder. ``form`` is "docker-archive", "oci-archive",
    "oci" (a layout in ``out``) or None (exact target). With ``thin``, the base's layers are left out.
    """
    if form not in (None, *get_args(OutputFormat)):
        raise UsageError(messages.OPTION_FORM, name=form)
    options = ApplyOptions(target=target, expect=parse_all(expect), max_size=limit(max_size), form=form, thin=thin)
    path = os.fspath(out)
    is_folder = form == "oci" or path.endswith("/") or os.path.isdir(path)  # noqa: PTH112 - any name that the system accepts
    with Context(tmp, progress) as context:
        where = Folder(path) if is_folder else Destination(path)
        return pipeline.apply(several(sources), where, options, access or Access(), context, candidates=several(bases))


def check(
    sources: Source | Iterable[Source],
    out: FilePath | None = None,
    *,
    bases: Source | Iterable[Source] | None = None,
    target: str | None = None,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> CheckResult:
    """Check whether the bundle can be applied to the archives in ``sources``. Only headers and metadata are read.

    If a target cannot be rebuilt, its result has an ``error``. Other errors are raised as in :func:`apply`.
    """
    options = ApplyOptions(target=target, expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        where = Destination(os.devnull if out is None else os.fspath(out))
        return checking.check(several(sources), where, options, access or Access(), context, candidates=several(bases))


def load(
    sources: Source | Iterable[Source],
    *,
    bases: Source | Iterable[Source] | None = None,
    engine: str | None = None,
    thin: bool = False,
    target: str | None = None,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> LoadResult:
    """Rebuild targets as :func:`apply` does, load them into docker, podman or ctr, and check the result.

    If ``engine`` is None, a source's engine is used. If no source is in an engine, the first installed engine is used.
    With ``thin``, the base's layers are left out. Raises ``LoadError`` if the engine lacks the image after loading.
    """
    options = LoadOptions(engine=engine, thin=thin, target=target, expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        return loading.load(several(sources), options, access or Access(), context, candidates=several(bases))


def verify(
    bundle: Source,
    base: Source | Iterable[Source] | None = None,
    *,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> VerifyResult:
    """Check every byte of a bundle against its header. With ``base``, also rebuild and check the target."""
    options = RebuildOptions(expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        return verifying.verify(bundle, several(base), options, access or Access(), context)


def merge(
    sources: Iterable[Source],
    out: FilePath | Writable,
    *,
    level: int | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> CreateResult:
    """Write one bundle that replaces a chain of bundles. The new bundle builds on the base of the first bundle."""
    options = CreateOptions(level=level)
    with Context(tmp, progress) as context:
        return merging.merge(
            several(sources), output_to(out), options, access or Access(), context, max_size=limit(max_size)
        )


def inventory(
    sources: Source | Iterable[Source],
    *,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> str:
    """Return an inventory of the layers in archives, as JSON. :func:`create` can read the inventory from a file."""
    with Context(tmp, progress) as context:
        return inventories.inventory(several(sources), access or Access(), context)


def diff(
    old: Source,
    new: Source,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> Changes:
    """Return changes in paths, packages and config between the images in ``old`` and ``new``."""
    with Context(tmp, progress) as context:
        return image_diff.diff(old, new, access or Access(), context)


def report(
    bundle: Source,
    out: FilePath | Writable,
    *,
    base: Source | Iterable[Source] | None = None,
    target: str | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> ReportResult:
    """Write a page of HTML about a bundle. With ``base``, the page also shows the changes between the images."""
    options = RebuildOptions(target=target, max_size=limit(max_size))
    with Context(tmp, progress) as context:
        return reporting.report(bundle, several(base), output_to(out), options, access or Access(), context)


def sign(
    bundle: FilePath,
    *,
    key: FilePath | None = None,
    signature: FilePath | None = None,
    detach: bool = False,
    out: FilePath | None = None,
    tmp: str | None = None,
) -> SignResult:
    """Sign a bundle with an SSH key, or insert a ``signature`` that ssh-keygen made elsewhere.

    The result is written to ``out``. With ``detach``, the signature goes to BUNDLE.sig, and the bundle is unchanged.
    """
    options = SignOptions(
        key=None if key is None else os.fspath(key),
        signature=None if signature is None else os.fspath(signature),
        detach=detach,
        output=None if out is None else os.fspath(out),
    )
    with Context(tmp) as context:
        return signing.sign(os.fspath(bundle), options, Access(), context)


def wrap(
    bundle: Source,
    out: FilePath | Writable,
    *,
    base: Source | Iterable[Source] | None = None,
    tags: Iterable[str] = (),
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> tuple[str, ...]:
    """Write an image that contains the bundle, and return the image's names. With ``base``, add the base's layers."""
    access = access or Access()
    options = WrapOptions(tags=tuple(tags), platform=access.platform)
    with Context(tmp, progress) as context:
        return wrapping.wrap(bundle, several(base), output_to(out), options, access, context)


def push_wrapped(
    bundle: Source,
    name: str,
    *,
    base: Source | Iterable[Source] | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> PushedWrap:
    """Wrap a bundle as an image, as :func:`wrap` does, and push the image to ``docker://HOST/NAME:TAG``."""
    access = access or Access()
    options = WrapOptions(platform=access.platform)
    with Context(tmp, progress) as context:
        return wrapping.push_wrapped(bundle, several(base), name, options, access, context)


def unwrap(
    source: Source,
    out: FilePath | Writable,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> TakenBundle:
    """Extract the bundle from an image that :func:`wrap` created, and check the bundle."""
    with Context(tmp, progress) as context:
        return unwrapping.unwrap(source, output_to(out), access or Access(), context)


def push(
    bundle: Source,
    name: str,
    *,
    subject: str | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> PushResult:
    """Push a bundle to a registry (``docker://HOST/NAME:TAG``), as an artifact that refers to the target image."""
    with Context(tmp, progress) as context:
        return pushing.push(bundle, name, access or Access(), context, subject=subject)


def pull(
    name: str,
    out: FilePath | Writable,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> TakenBundle:
    """Write a bundle from a registry to a file, and check the bundle."""
    with Context(tmp, progress) as context:
        return unwrapping.pull(name, output_to(out), access or Access(), context)


def update(
    name: str,
    here: Source | Iterable[Source] | None,
    out: FilePath | Writable | None = None,
    *,
    engine: str | None = None,
    expect: Expected | None = None,
    max_size: int | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> UpdateResult:
    """Fetch an image from a registry, in full or as bundles for the images in ``here``.

    The image is loaded into an ``engine``, or written to ``out``. If signers are required, only bundles are fetched.
    """
    from dibundle.sharing import update as updating  # needs urllib3

    options = updating.UpdateOptions(engine=engine, expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        output = None if out is None else output_to(out)
        return updating.update(name, several(here), output, options, access or Access(), context)


def plan_update(
    name: str,
    here: Source | Iterable[Source] | None,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
    tmp: str | None = None,
) -> UpdatePlan:
    """Return what :func:`update` would fetch to write the image to a file. No bundle is fetched."""
    from dibundle.sharing import update as updating  # needs urllib3

    with Context(tmp, progress) as context:
        return updating.plan_for_file(name, several(here), access or Access(), context)


def open_bundle(source: Source, *, access: Access | None = None, tmp: str | None = None) -> Bundle:
    """Open a bundle for inspection. If a bundle is split into parts, give any one of them.

    Raises :class:`DibError` if the file is not a bundle, is truncated, lacks a required signature, or has a damaged
    header or manifest. Everything after the manifest is checked when the bundle is applied.
    """
    return Bundle(source, access or Access(), tmp)
