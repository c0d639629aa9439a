"""Making relink payloads (creation only): HDiffPatch runs on the source as it is relinked by a first, cheap map."""

from __future__ import annotations

from dibundle.codecs import cover, relink
from dibundle.codecs.encode import covers, layout
from dibundle.codecs.encode.remainder import LONG, SHORT


def encode(
    source: bytes,
    target: bytes,
    *,
    effort: int = cover.DEFAULT_EFFORT,
    thorough: bool = False,
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
    linked = relink.relink(source, plan.regions, plan.first)
    slow = effort >= cover.SLOW_EFFORT
    for long in (SHORT, *((LONG,) if slow else ()), LONG):
        found = covers.find(linked, target, all_of_it=slow, long=long)
        if len(found) > cover.MAX_COVERS:
            found = found.longest(cover.MAX_COVERS)
        header, linked = relinked(source, target, plan, found)
    return relink.write(header) + cover.encode(
        linked, target, found, effort=effort, thorough=thorough, machine=header.machine
    )


def relinked(
    source: bytes, target: bytes, plan: layout.RelinkPlan, found: covers.Covers
) -> tuple[relink.RelinkHeader, bytearray]:
    """Return the header of a payload with the covers ``found``, and the source as a decoder of it relinks it."""
    rows = cover.flat(found)
    modes = {region.mode for region in plan.regions}
    machine = cover.X86_CODE if modes & {relink.X86, relink.X86_FIXED} else cover.NO_CODE
    header = relink.RelinkHeader(
        relink.LEAST,
        plan.regions,
        plan.sections,
        layout.fixed_steps(plan, source, target, rows),
        cover.ARM_CODE if relink.ARM in modes else machine,
    )
    return header, relink.relink(source, plan.regions, relink.steps_of(rows, header))
