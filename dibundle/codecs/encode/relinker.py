"""Create relink payloads. The source is relinked with the moves that are known so far, and then searched.

The first map takes little time. With this map, a search finds covers. The covers give a better map. With the better
map, a second search finds more covers. On static-binary at the default level with HDiffPatch's search, one search takes
11.0 s of CPU, and the covers' streams have 3,507,104 bytes. Two searches take 12.0 s, and the streams have 3,312,000
bytes. A third search saves another 1.3 % of the bytes.
"""

from __future__ import annotations

from dibundle.codecs import cover, relink
from dibundle.codecs.encode import covers, layout


def encode(
    source: bytes,
    target: bytes,
    *,
    effort: int = cover.DEFAULT_EFFORT,
    thorough: bool = False,
    plan: layout.RelinkPlan | None = None,
) -> bytes | None:
    """Return a payload from which :func:`relink.decode` rebuilds ``target`` with ``source``.

    If the contents are parts of larger files, ``plan`` is for the whole files, cut by ``RelinkPlan.window``. Without
    ``plan``, a plan is made from the two contents. Returns ``None`` if the source has no native code that moved.
    """
    plan = plan or layout.plan(source, target)
    if plan is None or max(len(plan.regions), len(plan.sections)) > relink.most_regions(len(source)):
        return None
    linked = relink.relink(source, plan.regions, plan.first)
    stripped = bytes(relink.derive(target, plan.sections, put_back=False))
    is_slow = effort >= cover.SLOW_EFFORT
    for is_quick in (True, False, False) if is_slow else (True, False):
        found = covers.find(linked, stripped, quick=is_quick)
        if len(found) > cover.MAX_COVERS:
            found = found.longest(cover.MAX_COVERS)
        header, linked = relinked(source, target, plan, found)
    return relink.write(header) + cover.encode(
        linked, stripped, found, effort=effort, thorough=thorough, machine=header.machine
    )


def relinked(
    source: bytes, target: bytes, plan: layout.RelinkPlan, found: covers.Covers
) -> tuple[relink.RelinkHeader, bytearray]:
    """Return the header for the covers ``found``, and the source relinked with this header."""
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
