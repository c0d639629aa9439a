"""The public functions, which ``dibundle`` itself offers: every use case, with its options as keyword arguments.

``access`` says how sources are reached and who must have signed bundles, beside the machine's policy. ``progress`` gets
phases and bytes done; ``tmp`` is where temporary files go. Use cases raise :class:`DibError`; see each for which.
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
    """Write a bundle that makes ``target`` of ``base`` (None or none: of nothing) to ``out``; return what was made.

    A path as ``out`` appears whole or not at all. ``level`` is 1 (fast) to 9 (small). The same inputs and options give
    the same bundle, whatever does the work: threads of this process, one per core or ``workers`` of them, or an
    ``executor`` of concurrent.futures, which gets a function and bytes, ``workers`` frames at a time (0: one per core
    of this machine). Machines behind it need the same versions of dib and zstandard. Processes that spawn or forkserver
    starts import the script anew: make a ``ProcessPoolExecutor`` under ``if __name__ == "__main__":``, with one of
    those two as its ``mp_context``: with fork Python may warn of deadlocks. ``inventory`` is a file with an
    :func:`inventory`. ``raw_layers``: the same images with raw layers, in another archive.
    Raises ``ArchiveError`` for what is no image archive, ``FileError`` where the system refuses, ``UsageError`` for no
    such level or number of workers. What the caller's objects raise comes through; one that would block: ``FileError``.
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
    """Return about how large a bundle would be and how long it would take to create, from a sample of its frames."""
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
    """Yield the archive that bundles make, byte for byte, from the archives among ``sources``.

    What is a bundle is seen by its content; several are followed as a chain. Any part stands for a bundle in parts.
    ``bases`` are taken if they are there: archives, and bundles that make one. ``target`` names one of several that a
    bundle makes. With ``expect``, image IDs or digests as ``sha256:...``, nothing else is yielded. The last bytes come
    only when every byte before them is verified, so that half an archive is never taken for a whole one.

    Nothing is opened before the first byte is asked for; then ``BaseMismatchError`` is raised for a wrong base,
    ``BundleError`` and ``DigestError`` for a bundle that is malformed or damaged, ``SignatureError`` for one that
    nobody who counts has signed, or that makes something else than is expected.
    """
    options = RebuildOptions(target=target, expect=parse_all(expect), max_size=limit(max_size))
    with Context(tmp, progress) as context:
        opened = open_sources(several(sources), access or Access(), context, candidates=several(bases))
        bundles, limits = opened.read_bundles(), RebuildOptions(max_size=options.max_size)
        archives, bundle = follow(opened.archives, bundles, limits, context, spare=opened.spare)
        pieces: deque[bytes] = deque()

        def keep(piece: Piece) -> None:
            pieces.append(bytes(piece))  # what it is a view of may be used again

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
    """Write what bundles make to ``out``, whole or not at all; else as :func:`apply`.

    ``out`` may be a folder, which gets a file for each target. ``form`` is "docker-archive" or "oci-archive" instead of
    the exact target, or "oci": a layout in the folder ``out``. ``thin``: without the layers of the base.
    """
    if form not in (None, *get_args(OutputFormat)):
        raise UsageError(messages.OPTION_FORM, name=form)
    options = ApplyOptions(target=target, expect=parse_all(expect), max_size=limit(max_size), form=form, thin=thin)
    path = os.fspath(out)
    is_folder = form == "oci" or path.endswith("/") or os.path.isdir(path)  # noqa: PTH112 - any name that the system takes
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
    """Say whether the one bundle among ``sources`` can be applied to the archives among them, by heads and metadata.

    What fails for a target is in the result, as its ``error``. Other errors are raised as :func:`apply` raises them.
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
    """Load what bundles make into docker, podman or ctr, and check that it is there; else as :func:`apply`.

    ``engine`` None is that of a source, else the first that is installed. ``thin``: without the layers of the base,
    which the engine must have. Raises ``LoadError`` where the engine refuses, or has another image afterwards.
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
    """Check that every byte of a bundle is as its header promises; with ``base``, rebuild and check the result too."""
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
    """Write one bundle in place of a chain of bundles, with the base that the first of them needs."""
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
    """Return, as JSON, the list of the layers that archives hold; a sender's :func:`create` takes it as ``have``."""
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
    """Return what changed from the image in ``old`` to the one in ``new``: paths, packages, and the config."""
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
    """Write one page of HTML about a bundle; with ``base`` also what changed between the images."""
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
    """Sign a bundle with an SSH key, or put in a ``signature`` that ssh-keygen made elsewhere.

    ``detach``: leave the bundle as it is, and write the signature beside it. ``out``: write there instead.
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
    """Write an image of a bundle, linked to the ``base`` that it builds on, or alone; return its names."""
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
    """Push an image of a bundle, as :func:`wrap` makes it, to ``docker://HOST/NAME:TAG``."""
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
    """Write the bundle in an image that :func:`wrap` made, undamaged."""
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
    """Put a bundle into a registry, ``docker://HOST/NAME:TAG``, as an artifact that refers to the image it makes."""
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
    """Write a bundle that is in a registry, undamaged."""
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
    """Get an image from a registry by the bundles that lead to it from what is ``here``, or plainly.

    It is loaded into an ``engine``, or written to ``out``. With signers the image itself is never fetched.
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
    """Return what :func:`update` would fetch for a file; no bundle is fetched."""
    from dibundle.sharing import update as updating  # needs urllib3

    with Context(tmp, progress) as context:
        return updating.plan_for_file(name, several(here), access or Access(), context)


def open_bundle(source: Source, *, access: Access | None = None, tmp: str | None = None) -> Bundle:
    """Open a bundle to look at it; :class:`DibError` where it is none, or nobody who counts has signed it.

    So it is where its head is damaged, or a file that is named is cut short; what follows the head, and all of an open
    file behind it, is checked when it is applied. Of a bundle in parts any part may be named.
    """
    return Bundle(source, access or Access(), tmp)
