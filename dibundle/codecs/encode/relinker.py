"""Making relink payloads (creation only): HDiffPatch runs on the source as it is relinked by a first, cheap map."""

from __future__ import annotations

from dibundle.codecs import cover, relink
from dibundle.codecs.encode import covers, layout


def encode(
    source: bytes,
    target: bytes,
    *,
    effort: int = cover.DEFAULT_EFFORT,
    model_time: int = cover.MODEL_TIME,
    plan: layout.RelinkPlan | None = None,
) -> bytes | None:
    """Return the payload from which :func:`relink.decode` makes ``target`` out of ``source``.

    ``plan`` is needed for stretches of larger files: :func:`layout.plan` of the whole files, cut by ``window``. Without
    one, what the two hold themselves is used. ``None`` where the source has no native code that moved. HDiffPatch runs
    once, on the relinked source.
    """
    plan = plan or layout.plan(source, target)
    if plan is None or max(len(plan.regions), len(plan.sections)) > relink.most_regions(len(source)):
        return None
    found = covers.find(relink.relink(source, plan.regions, plan.first), target, all_of_it=effort >= cover.SLOW_EFFORT)
    if len(found) > cover.MAX_COVERS:
        found = found.longest(cover.MAX_COVERS)
    header, linked = relinked(source, target, plan, found)
    return relink.write(header) + cover.encode(linked, target, found, effort=effort, model_time=model_time)


def relinked(
    source: bytes, target: bytes, plan: layout.RelinkPlan, found: covers.Covers
) -> tuple[relink.RelinkHeader, bytearray]:
    """Return the header of a payload with the covers ``found``, and the source as a decoder of it relinks it."""
    rows = cover.flat(found)
    header = relink.RelinkHeader(
        relink.LEAST, plan.regions, plan.sections, layout.fixed_steps(plan, source, target, rows)
    )
    return header, relink.relink(source, plan.regions, relink.steps_of(rows, header))
