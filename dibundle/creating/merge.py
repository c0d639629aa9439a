"""Merging a chain of bundles into one bundle, which builds on the base of the chain's first bundle."""

from __future__ import annotations

from collections.abc import Sequence

from dibundle.applying.chain import follow, make_all
from dibundle.applying.options import MAX_TARGET, RebuildOptions
from dibundle.applying.space import made_size
from dibundle.creating import messages
from dibundle.creating.options import CreateOptions
from dibundle.creating.pipeline import CreateResult, refuse_other, write_bundle
from dibundle.errors import UsageError, human
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.sources.access import Access
from dibundle.sources.opening import Source, open_sources


def merge(
    sources: Sequence[Source],
    output: Output,
    options: CreateOptions,
    access: Access,
    context: Context,
    *,
    max_size: int = MAX_TARGET,
) -> CreateResult:
    """Write one bundle that replaces the chain of bundles among ``sources``.

    The chain's target is rebuilt into temporary files, and compared with the base again. So if one bundle adds content
    and a later bundle drops this content, the result does not have the content. ``max_size`` is the maximum size of a
    target in bytes. Raises the errors of applying and creating.
    """
    opened = open_sources(sources, access, context)
    opened.ask_engines()  # the comparison needs the whole base image, not only the layers that the bundles need
    opened.refuse_overwriting(output.name, output.identity)
    refuse_other(output)
    if len(opened.bundles) < 2:
        raise UsageError(messages.MERGE_ONE_BUNDLE, count=len(opened.bundles) or "no")
    limits = RebuildOptions(max_size=max_size)
    bundles = opened.read_bundles()
    archives, last = follow(opened.archives, bundles, limits, context)
    targets = make_all(last, archives, limits, context)
    left = max(0, 2 * max_size - made_size([*archives, *targets])) // len(targets)
    with output:
        result = write_bundle(opened.archives, targets, output.write, options, context, most_unpacked=left)
    size = sum(bundle.size for bundle in bundles)
    if result.size > size:
        context.progress.note(
            f"the separate bundles are smaller, {human(size)} together, and can be applied as a chain; a higher --level"
            " makes the merged one smaller"
        )
    return result
