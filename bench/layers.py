"""Find the encoders of layers that were compressed by real programs, and measure the layers' bundles.

    python bench/layers.py BASE TARGET [--writers PART,...] [--fixtures]

BASE and TARGET are two versions of an image from docker save, with raw layers. Every writer of tests/compat/writers.py
writes an archive of TARGET with compressed layers. A bundle from BASE to this archive is created and applied, and the
result is compared. With --fixtures, the third-party archives of tests/fixtures.py are measured too; their bundles have
no base. The script needs root and the programs themselves, see .ci/run.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import CalledProcessError

# append the path, so that the installed package comes first and is measured
sys.path.append(str(Path(__file__).parents[1]))

from measure import FailedRunError, Run, run, same
from report import keep

from dibundle.codecs.deflate.encoders import is_pgzip
from dibundle.codecs.frames import libzstd
from dibundle.codecs.recompression import Body
from dibundle.codecs.reencoders import FAMILIES, is_frames
from dibundle.creating.compose.recompressed import unpack_layer
from dibundle.creating.compose.reframed import unpack_frames
from dibundle.creating.match.images import read_blobs
from dibundle.errors import DibError
from dibundle.files.readat import Spool
from dibundle.images.archive import open_archive
from dibundle.images.reader import read_images
from tests.compat.writers import WITH_OPTIONS, WRITERS, ZSTD, Source
from tests.fixtures import third_party

DIB = Path(sys.executable).with_name("dib")


@dataclass(frozen=True)
class Row:
    """An archive's compressed layers, counted by encoder, and the cost of the archive's bundle."""

    archive: str
    kind: str
    layers: int
    found: dict[str, int]
    zstd: int
    unknown: int
    target: int
    bundle: int
    create: Run
    apply: Run
    exact: bool


def main() -> None:
    """Write the archives, find encoders, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--writers", default="", help="parts of names, with ; between them")
    parser.add_argument("--fixtures", action="store_true", help="the third-party archives too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="layers-") as work:
        for row in of_writers(arguments.base, arguments.target, arguments.writers.split(";"), Path(work)):
            print(line(row), flush=True)
            keep("layers", [asdict(row)], identity=("archive",))
        if arguments.fixtures:
            rows = list(of_fixtures(Path(work)))
            for row in rows:
                print(line(row), flush=True)
            keep("layers", map(asdict, rows), identity=("archive",))


def of_writers(base: Path, target: Path, wanted: list[str], work: Path) -> Iterator[Row]:
    """Yield a row for each writer whose name has one of the wanted parts; report failures."""
    with contextlib.ExitStack() as stack:
        source = Source(target, work, stack)
        for name, write in (WRITERS | WITH_OPTIONS | ZSTD).items():
            if not any(part in name for part in wanted):
                continue
            archive = work / "archive.tar"
            try:
                write(source, archive)
                row = measure(name, "usual" if name in WRITERS else "options", [base], archive, work)
            except (AssertionError, DibError, OSError, CalledProcessError, FailedRunError) as error:
                print(f"{name}: {str(error)[-400:]}", flush=True)
                continue
            finally:
                archive.unlink(missing_ok=True)
            if row:
                yield row


def of_fixtures(work: Path) -> Iterator[Row]:
    """Yield a row for each third-party archive with compressed layers; report archives that dib refuses."""
    for fixture in third_party("image-archive"):
        try:
            row = measure(f"{fixture.name} ({fixture.flavour})", "third party", [], fixture.path, work)
        except (DibError, FailedRunError) as error:
            print(f"{fixture.name}: {error}", flush=True)
            continue
        if row:
            yield row


def measure(name: str, kind: str, bases: list[Path], archive: Path, work: Path) -> Row | None:
    """Find the encoders of an archive, and create and apply its bundle; return None if no layer is compressed."""
    found, zstd, unknown = look(archive)
    layers = found.total() + zstd + unknown
    if not layers:
        return None
    bundle, result = work / "bundle.dib", work / "result.tar"
    create = run([DIB, "create", "-q", *(bases or ["--no-base"]), archive, bundle])
    apply = run([DIB, "apply", "-q", *bases, bundle, "-o", result])
    size, exact = _compare(archive, result)
    bundle_size = bundle.stat().st_size
    return Row(name, kind, layers, dict(found), zstd, unknown, size, bundle_size, create, apply, exact)


def _compare(archive: Path, result: Path) -> tuple[int, bool]:
    """Return the size of an archive's tar, decompressed if necessary, and whether the result equals the tar."""
    with open_archive(archive) as opened:
        size = opened.bytes.size
        if not opened.compression:
            return size, same(archive, result)
        return size, opened.bytes.read_at(0, size) == result.read_bytes()


def look(archive: Path) -> tuple[Counter[str], int, int]:
    """Return the encoders found for an archive's layers, and the numbers of zstd and gzip layers without an encoder."""
    found: Counter[str] = Counter()
    zstd = unknown = 0
    with open_archive(archive) as opened, ThreadPoolExecutor(1) as executor:
        for stored in read_blobs(read_images(opened), executor, lambda size: None):
            if stored.blob.kind != "layer" or not stored.blob.compression:
                continue
            with contextlib.closing(Spool(None)) as spool:
                unpack = {"gzip": unpack_layer, "zstd": unpack_frames}.get(stored.blob.compression)
                packed = unpack(stored.source, spool) if unpack else None
            if packed:
                bodies = [part for part in packed.parts if isinstance(part, Body)]
                found[" + ".join(dict.fromkeys(map(told, bodies)))] += 1
            elif stored.blob.compression == "gzip":
                unknown += 1
            else:
                zstd += 1
    return found, zstd, unknown


def told(body: Body) -> str:
    """Return a description of a body's encoder."""
    recipe = body.recipe
    words = f"{FAMILIES[recipe.encoder].name}, level {recipe.level}"
    if is_pgzip(recipe.encoder):
        words += f", blocks of {recipe.parameter / 1024:g} KiB"
    elif recipe.encoder in libzstd.FAMILIES:
        words = f"libzstd {libzstd.release_of(recipe.encoder).name}"
        words += f", level {libzstd.library_level(recipe.encoder, recipe.level)}"
        words += ", jobs" if recipe.parameter & libzstd.JOBS else ", one thread"
    elif is_frames(recipe.encoder):
        words += f", first block {recipe.parameter}" if recipe.parameter else ""
    elif recipe.parameter:
        words += f", memLevel {recipe.parameter}"
    return words + (", edited" if recipe.edits else "")


def line(row: Row) -> str:
    """Return a row as it is printed."""
    words = [f"{count} x {name}" for name, count in row.found.items()]
    words += [f"{count} {name}" for name, count in (("unknown zstd", row.zstd), ("unknown", row.unknown)) if count]
    times = [f"{one.cpu:.1f} s, {one.memory:.0f} MiB" for one in (row.create, row.apply)]
    return (
        f"{row.archive}: {row.layers} layers: {'; '.join(words)}; {row.target:,} -> {row.bundle:,};"
        f" create {times[0]}; apply {times[1]}{'' if row.exact else '; NOT EXACT'}"
    )


if __name__ == "__main__":
    main()
