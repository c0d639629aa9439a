"""Extract a bundle from an image that ``wrap`` created, or from a registry."""

from __future__ import annotations

from dataclasses import dataclass

from dibundle.applying.targets import MadeTarget, made_targets
from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.files.destination import Output
from dibundle.files.readat import copy_chunks
from dibundle.sharing import messages
from dibundle.sources.access import Access
from dibundle.sources.bundles import read_whole
from dibundle.sources.names import is_reference
from dibundle.sources.opening import Source, open_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBundle:
    """A written and checked bundle, with its size in bytes and its targets."""

    size: int
    targets: tuple[MadeTarget, ...]


def unwrap(source: Source, output: Output, access: Access, context: Context) -> TakenBundle:
    """Check every byte of the only bundle in a source, then write the bundle."""
    opened = open_sources([source], access, context)
    opened.refuse_overwriting(output.name, output.identity)
    bundle = read_whole(opened.bundle_stream(), context, opened.check, opened.bundles[0][0])
    with output:
        for piece in copy_chunks(bundle.content, 0, bundle.content.size):
            output.write(piece)
    return TakenBundle(size=bundle.content.size, targets=made_targets(bundle.manifest))


def pull(name: str, output: Output, access: Access, context: Context) -> TakenBundle:
    """Write a bundle from a registry. In the registry, the bundle is an artifact, or is wrapped in an image."""
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_NAME, name=name, tag="1-2")
    return unwrap(name, output, access, context)
