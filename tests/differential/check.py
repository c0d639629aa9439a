"""dib's results for a generated archive.

The results are the output of ``apply --expect``, and the images of ``load --expect``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from dibundle.applying.expected import UnexpectedError
from dibundle.applying.loading import LoadOptions, load
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.files.digest import sha256
from dibundle.format import writer
from dibundle.format.manifest import Manifest
from dibundle.format.program_writer import ProgramWriter
from dibundle.format.reader import BundleReader
from dibundle.format.tables import Frame, Segment
from dibundle.format.values import About, AboutImage, Target
from dibundle.sources.access import Access
from tests.builders import TestImage, build_layer, docker_save
from tests.differential.archives import Case
from tests.differential.loaders import Loader, Taken, environment

NAMED = docker_save([TestImage([build_layer([])], ["example.com/app:old"])])
"""A base without common content.

It is needed because an expected image may have only names in the base's repository.
"""


@dataclass(frozen=True)
class Verdict:
    """The result for an archive. ``reason`` is the reason why the archive was refused, or None if it was accepted."""

    reason: str | None


def bundle_for(target: bytes, claim: bytes) -> BundleReader:
    """Return a bundle for a target. The bundle's description claims the image ``claim``."""
    return BundleReader(io.BytesIO(written_for(target, claim)))


def written_for(target: bytes, claim: bytes) -> bytes:
    """Write a bundle with ``target`` as one stored frame. The bundle's description claims the image ``claim``."""
    program = ProgramWriter()
    program.raw(len(target), 1)
    frame = Frame(
        stream=1, codec=0, stored=len(target), size=len(target), digest=sha256(target), implied=False, source_size=0
    )
    images = (AboutImage(names=("example.com/app:good",), id=claim, diff_ids=()),)
    made = Target(
        size=len(target),
        digest=sha256(target),
        rest_digest=sha256(target),
        tail=len(target) - 1,
        frames=1,
        segments=(Segment(len(target), None),),
        columns=program.finish(),
    )
    about = About(bases=(), targets=(images,))
    manifest = Manifest(codecs=(0,), objects=(), frames=(frame,), targets=(made,), about=about)
    return b"".join(writer.write(manifest, [target]))


def applied(case: Case) -> Verdict:
    """Apply a bundle that rebuilds a case's archive; the expected image is GOOD."""
    out = io.BytesIO()
    try:
        options = RebuildOptions(expect=frozenset((case.good,)))
        with Context() as context:
            rebuild_target([], bundle_for(case.archive, case.good), out.write, options, context)
    except UnexpectedError as error:
        assert not out.getvalue()
        return Verdict(error.message)
    assert out.getvalue() == case.archive
    return Verdict(None)


def loaded(case: Case, loader: Loader) -> Taken:
    """With dib, load a case's archive into an engine, from a bundle; the expected image is GOOD."""
    text, code = "", 0
    if case.before is not None:
        loader.prepare(case.before)
    with environment(loader.env):
        try:
            how = LoadOptions(engine=loader.engine.dib_name, expect=frozenset((case.good,)))
            bundle = io.BytesIO(written_for(case.archive, case.good))
            with Context() as context:
                load([io.BytesIO(NAMED), bundle], how, Access(), context)
        except DibError as error:
            text, code = error.message, error.exit_code
    return loader.found(code, text)
