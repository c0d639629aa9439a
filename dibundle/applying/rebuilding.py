"""The rebuild of targets: find the base, plan, rebuild, verify, and only then finish the output."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from dibundle.applying.base import FoundBase, find_base
from dibundle.applying.expected import Judgement
from dibundle.applying.options import RebuildOptions
from dibundle.applying.space import NO_SPACE, Space, check_sizes, check_temporary, temporary_space
from dibundle.applying.targets import check_size, choose_target
from dibundle.codecs import reencoders
from dibundle.errors import BaseMismatchError, BundleError, human
from dibundle.files.context import Context
from dibundle.files.readat import Slice, Spool, room
from dibundle.format.compact import CompactTarget
from dibundle.format.output import Piece, Sink, VerifiedOutput
from dibundle.format.plan import RecompressionBudget, make_plan
from dibundle.format.reader import BundleReader
from dibundle.format.rebuild import rebuild
from dibundle.format.uses import objects_used
from dibundle.images.archive import Archive


def rebuild_target(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sink: Sink,
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
    whole: bool = False,
) -> None:
    """Pass a target's bytes to ``sink``, in order. The last bytes are passed only after every byte is verified.

    With ``whole``, also check the digest of the whole archive, not only the digests of its segments. Raises:

    - :class:`BaseMismatchError` for a wrong or damaged base, before the first byte if possible
    - :class:`BundleError` and :class:`DigestError` for a malformed or damaged bundle
    - :class:`UnexpectedError` if the target is not one of ``options.expect``
    """
    sinks = {choose_target(bundle.manifest, options): sink}
    rebuild_targets(bases, bundle, sinks, options, context, space=space, whole=whole)


def rebuild_targets(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sinks: Mapping[int, Sink],
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
    whole: bool = False,
    compact: CompactTarget | None = None,
) -> None:
    """Pass targets to their ``sinks`` (by number), one after the other, as :func:`rebuild_target` does.

    If these targets build on earlier targets, the earlier targets are rebuilt into temporary files. If a single target
    is rebuilt, ``compact`` gets each piece of the target.
    """
    for _ in rebuild_steps(bases, bundle, sinks, options, context, space=space, whole=whole, compact=compact):
        pass


def rebuild_steps(
    bases: Sequence[Archive],
    bundle: BundleReader,
    sinks: Mapping[int, Sink],
    options: RebuildOptions,
    context: Context,
    *,
    space: Space = NO_SPACE,
    whole: bool = False,
    compact: CompactTarget | None = None,
) -> Iterator[None]:
    """Run :func:`rebuild_targets` step by step. In each step, a sink gets only a few pieces."""
    manifest = bundle.manifest
    for number in sinks:
        check_size(manifest, number, options)
    with context.within() as own:
        base = find_base(manifest, bases, own, sinks.keys())
        own.defer(base.close)
        kept = check_sizes(manifest, base, bases, options, space)
        temporary = temporary_space(manifest, base, options, space)
        own.check_room(temporary)
        space.check_output(temporary)
        making = _Rebuild(
            bundle,
            base,
            RecompressionBudget(),
            Judgement(options.expectation, own.tmp),
            options,
            own,
            kept,
            whole,
            compact,
        )
        own.progress.phase("applying", sum(manifest.targets[number].size for number in base.order))
        # one temporary file for all targets, because the number of open files is limited
        kept_targets = own.spool() if base.kept else None
        for number in base.order:
            spool = kept_targets if number in base.kept else None
            start = spool.size if spool else 0
            yield from making.target(number, _tee(sinks.get(number), spool))
            if spool:
                base.take_from(number, Slice(spool, start, manifest.targets[number].size))


def _tee(sink: Sink | None, spool: Spool | None) -> Sink:
    if sink is None or spool is None:
        return sink or (spool.write if spool else lambda piece: None)

    def both(piece: Piece) -> None:
        sink(piece)
        spool.write(piece)

    return both


class _Rebuild(NamedTuple):
    """A running rebuild of a bundle's targets. ``kept`` is the size of the temporary files for targets, in bytes."""

    bundle: BundleReader
    base: FoundBase
    packings: RecompressionBudget
    judgement: Judgement
    options: RebuildOptions
    context: Context
    kept: int
    whole: bool
    compact: CompactTarget | None

    def target(self, number: int, sink: Sink) -> Iterator[None]:
        """Rebuild one target, step by step.

        The bundle is read and checked to its end before the last target's output is finished.
        """
        bundle, base, manifest = self.bundle, self.base, self.bundle.manifest
        target = manifest.targets[number]
        needed = objects_used(manifest, number)
        bundle.skip_to(number)
        self._prepare(needed)
        with self.context.within() as own:
            judged = None
            if number in base.wanted and self.judgement:
                judged = own.enter(closing(self.judgement.sink(target, sink)))
            output = VerifiedOutput(
                target,
                judged.write if judged else sink,
                whole=self.whole or judged is not None,
                has_base=bool(needed),
            )
            own.defer(output.close)
            try:
                plan = make_plan(manifest, number, base, self.packings)
                for encoder in manifest.reencoders:
                    reencoders.prove(encoder >> 4, encoder & 15)
                if self.compact:
                    self.compact.begin(base)
                for piece in rebuild(manifest, number, bundle, base, plan, self.packings, self.compact):
                    output.write(piece)
                    own.progress.advance(len(piece))
                    # free the piece before the next frame is decoded: it may be a view that keeps the old frame alive
                    del piece
                    yield
                if number == base.order[-1]:
                    bundle.skip_to(len(manifest.targets))
                    bundle.finish()
                output.finish()
            except (BaseMismatchError, BundleError):
                # a damaged base can make a correct patch look malformed, so check the base first
                base.verify(needed)
                raise
            if judged:
                yield from judged.release()

    def _prepare(self, needed: Collection[int]) -> None:
        """Prepare the base's objects for reading. Print a note if temporary files take over half of the free space."""
        base = self.base
        size = base.spool_size(needed)
        if size:
            place, free = room(self.context.tmp)
            if free // 2 < size <= free:  # if the size exceeds the free space, an error follows anyway
                self.context.progress.note(
                    f"the base is compressed: temporary files take {human(size)} of the {human(free)} free in {place};"
                    " to use another folder: --tmp DIR"
                )
        check_temporary(self.kept + base.made_size + base.spool_size(needed, of_made=True), self.options)
        base.prepare(needed)
