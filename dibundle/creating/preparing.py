"""The preparation of a bundle up to the encoding of frames.

Both sides are read and matched, and the programs are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from dibundle.codecs.encode import choose, layout
from dibundle.creating.compose.frames import FASTEST_WINDOW, WINDOW, FrameDraft
from dibundle.creating.compose.layer import Counts
from dibundle.creating.compose.objects import ObjectTable
from dibundle.creating.compose.sides import BaseSide, Reading, read_sides
from dibundle.creating.compose.target import ComposedTarget, compose_all
from dibundle.creating.manifest import make_manifest
from dibundle.creating.options import CreateOptions
from dibundle.files.context import Context
from dibundle.format.manifest import Manifest
from dibundle.format.tables import Frame
from dibundle.images.archive import Archive


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A bundle before its frames are encoded. Everything is matched, and the programs are written."""

    base: BaseSide
    composed: list[ComposedTarget]
    objects: ObjectTable
    counts: Counts
    options: CreateOptions
    effort: choose.Effort
    threads: Executor

    def drafts(self) -> list[tuple[ComposedTarget, bytes, FrameDraft]]:
        """Return the frames to encode, each with its target and the target's digest text."""
        texts = [(item, item.digest_text()) for item in self.composed]  # computed once for all frames of a target
        return [(item, text, draft) for item, text in texts for draft in item.frames.drafts]

    def load(
        self, draft: FrameDraft, hex_digits: bytes, *, planned: bool = True
    ) -> tuple[bytes, bytes, choose.Effort, layout.RelinkPlan | None]:
        """Return the arguments of :func:`choose.encode` for a frame. Without ``planned``, leave out the relink plan."""
        plan = _relink_plan(draft, self.objects) if planned and choose.relinks(self.effort) else None
        return draft.read(), _read_source(draft, self.objects, hex_digits), self.effort, plan

    def plan_ahead(self, draft: FrameDraft) -> None:
        """Make the relink plan for the whole file to which a frame belongs. :meth:`load` needs this plan."""
        if draft.whole and choose.relinks(self.effort):
            draft.whole.prepare(self.objects.read)

    def manifest(self, frames: list[Frame]) -> Manifest:
        """Return the manifest for these frames."""
        return make_manifest(self.base, self.composed, self.objects, frames, self.options, self.threads)


def prepare(
    bases: Sequence[Archive],
    targets: Sequence[Archive],
    options: CreateOptions,
    threads: Executor,
    context: Context,
    most_unpacked: int | None = None,
) -> Prepared:
    """Read and match everything, and write the programs. Temporary files stay until ``context`` ends."""
    effort = options.effort()
    reading = Reading(
        executor=threads,
        context=context,
        inventory=options.inventory,
        recompress=options.recompresses,
        most_unpacked=most_unpacked,
        shared=len(targets) > 1,
    )
    base, sides = read_sides(bases, targets, reading)
    context.progress.phase("comparing", 0)
    objects, counts = ObjectTable(), Counts()
    window = FASTEST_WINDOW if effort.level == 1 else WINDOW
    composed = compose_all(base, sides, objects, counts, window=window)
    base.index.forget_entries()  # frees memory for encoding: each file then takes at most 460 bytes instead of 1,060
    patched = sum(draft.size for item in composed for draft in item.frames.drafts if draft.old)
    return Prepared(
        base=base,
        composed=composed,
        objects=objects,
        counts=counts,
        options=options,
        effort=effort.to_patch(patched),
        threads=threads,
    )


def _relink_plan(draft: FrameDraft, objects: ObjectTable) -> layout.RelinkPlan | None:
    """Return the relink plan for a window of a large file."""
    if not draft.whole:
        return None
    old, window = draft.whole.old, draft.old[0]
    start = window.offset - old.offset
    return draft.whole.plan(objects.read, range(start, start + window.length), draft.window)


def _read_source(draft: FrameDraft, objects: ObjectTable, hex_digits: bytes) -> bytes:
    return b"".join(
        objects.sources[item.object].read_at(item.offset, item.length)
        if item.object < len(objects.sources)
        else hex_digits[item.offset : item.offset + item.length]
        for item in draft.old
    )
