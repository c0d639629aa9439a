"""``dib apply --check``: whether targets can be made here, and what room that takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import click

from dibundle.applying.expected import refuse_claims
from dibundle.applying.pipeline import ApplyOptions, check_size, check_sizes, find_base, target_name, temporary_space
from dibundle.cli import documents, terminal
from dibundle.cli.console import Console
from dibundle.cli.sources import Sources
from dibundle.errors import DibError
from dibundle.files import digest
from dibundle.files.readat import check_room, taken
from dibundle.format.manifest import Manifest
from dibundle.format.reader import BundleReader
from dibundle.images.reader import read_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found: bytes of temporary files for each target and for all, bases that are here, why a target fails."""

    space: dict[int, int]
    whole: int
    here: list[str]
    failed: dict[int, DibError]


def check_targets(
    opened: Sources,
    bundle: BundleReader,
    options: ApplyOptions,
    every: Collection[int],
) -> Checked:
    """Try whether the base serves the bundle to make the targets in ``every``.

    :class:`FileError` where temporary files or the output have too little room.
    """
    manifest = bundle.manifest
    space: dict[int, int] = {}
    failed: dict[int, DibError] = {}
    for number in every:
        try:
            check_size(manifest, number, options)
            if options.expect:
                refuse_claims(options.expect, manifest, number)
            space[number] = _space(opened, manifest, [number], options)
        except DibError as error:
            failed[number] = error
    there = taken(options.tmp)  # by what engines and registries gave
    whole = 0
    if not failed:
        whole = _space(opened, manifest, every, options)
        check_room(options.tmp, whole)
        options.check_output(whole)
    return Checked(
        space={number: there + size for number, size in space.items()},
        whole=there + whole,
        here=_bases_here(opened, manifest),
        failed=failed,
    )


def _space(opened: Sources, manifest: Manifest, numbers: Collection[int], options: ApplyOptions) -> int:
    if options.kept:  # images are taken out of the file that is kept: there is none beside it to judge
        options = replace(options, expect=frozenset(), target=None)
    with closing(find_base(manifest, opened.archives, options, numbers, believe=True)) as base:
        check_sizes(manifest, base, opened.archives, options)
        return temporary_space(manifest, base, options)


def _bases_here(opened: Sources, manifest: Manifest) -> list[str]:
    """Return the names of those images that the bundle was made from which are in the archives."""
    found: set[bytes | None] = set()
    for archive in opened.archives:
        for image in {
            (image.config_digest, id(image.diff_ids)): image for image in read_images(archive).images
        }.values():
            found |= {image.config_digest, *image.diff_ids}
    bases = manifest.about.bases if manifest.about else ()
    return [
        _name(image.names, image.id)
        for image in bases
        if image.id in found or (image.diff_ids and found.issuperset(image.diff_ids))
    ]


def tell_checked(checked: Checked, bundle: BundleReader, signed_by: Sequence[str], console: Console) -> None:
    """Say for each target whether it can be made; raise the error of the first that cannot."""
    manifest = bundle.manifest
    every = sorted(checked.space | checked.failed)
    lines = [_line(checked, manifest, number) for number in every]
    if checked.failed:
        if len(every) > 1 and not console.json:
            click.echo("\n".join(lines))
        raise checked.failed[min(checked.failed)]
    about = manifest.about
    document = {
        "ok": True,
        "needs": documents.images(about.bases if about else ()),
        "target": documents.target(manifest, every[0]),
        "targets": [documents.target(manifest, number) for number in every],
        "temporary_space": checked.whole,
        "signed_by": signed_by,
    }
    console.answer("dib.check/1", document, *lines)
    console.say_signed(signed_by)


def _line(checked: Checked, manifest: Manifest, number: int) -> str:
    if number in checked.failed:
        return terminal.escape(f"no: {target_name(manifest, number)}: {checked.failed[number].message}")
    images = manifest.about.targets[number] if manifest.about else ()
    made = ", ".join(_name(image.names, image.id) for image in images) or "an image"
    here = ", ".join(checked.here) or "the base"
    needs = f"{here} {'are' if len(checked.here) > 1 else 'is'} here" if manifest.objects else "no base is needed"
    need = checked.space[number]
    return (
        f"ok: {terminal.escape(needs)}; applying makes {terminal.escape(made)},"
        f" {terminal.human(manifest.targets[number].size)}"
        + (f", with {terminal.human(need)} of temporary space" if need else "")
    )


def _name(names: tuple[str, ...], image_id: bytes) -> str:
    return names[0] if names else digest.text(image_id)
