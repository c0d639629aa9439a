"""The command: arguments, bases, targets that others build on."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from decoder.core.basics import MiB, Refused, mapped, need
from decoder.core.manifest import MAGIC, read_bundle, spend
from decoder.core.objects import Objects, used_objects
from decoder.core.output import Output
from decoder.core.run import Run
from decoder.core.walk import Plan
from decoder.full.known import check_encoders
from decoder.profile import judge

if TYPE_CHECKING:
    from collections.abc import Collection

    from decoder.core.manifest import Bundle

USAGE = "usage: decoder [--target NAME] [--expect sha256:HEX]... [BASE...] BUNDLE > OUT"


def split_arguments(paths: list[Path]) -> tuple[Path, list[Path]]:
    """Tell the bundle from the bases by its magic."""
    bundles = []
    for path in paths:
        with path.open("rb") as file:
            if file.read(8) == MAGIC:
                bundles.append(path)
    bundles = bundles or paths[-1:]  # none: say what is wrong with the last
    need(len(bundles) == 1, USAGE, 2)
    return bundles[0], [path for path in paths if path not in bundles]


def choose(bundle: Bundle, name: str | None) -> int:
    """Give the number of the target to make: the only one, or the one that is called so."""
    named = [number for number, target in enumerate(bundle.targets) if name is None or name in target.names]
    need(len(named) == 1, f"{len(named)} targets, --target NAME is to choose one", 2)
    return named[0]


def decode(paths: list[Path], out: IO[bytes], name: str | None = None, expected: Collection[str] = ()) -> None:
    """Rebuild a target of a bundle; one that is expected, or named by a digest, is judged before it is put out (10)."""
    named = name[7:] if name and re.fullmatch("sha256:[0-9a-f]{64}", name) else None
    if not expected and not named:
        rebuild(paths, out, name)
        return
    with tempfile.NamedTemporaryFile() as file:
        rebuild(paths, file, name)
        file.flush()
        if expected:
            judge(Path(file.name), expected)
        if named:
            judge(Path(file.name), [named], alone=False)
        file.seek(0)
        while piece := file.read(MiB):
            out.write(piece)


def rebuild(paths: list[Path], out: IO[bytes], name: str | None) -> None:
    """Rebuild a target of a bundle."""
    path, bases = split_arguments(paths)
    with path.open("rb") as file:
        bundle = read_bundle(mapped(file))
    wanted = choose(bundle, name)
    check_encoders(bundle.encoders)
    objects = Objects(bundle)
    for base in bases:
        objects.search(base)
    make(bundle, wanted, objects, out)


def make(bundle: Bundle, wanted: int, objects: Objects, out: IO[bytes]) -> None:
    """Make a target, and before it, into temporary files, those that it builds on (3.1)."""
    todo = {wanted}
    needs: dict[int, set[int]] = {}
    placed: dict[int, set[int]] = {}
    for number in range(wanted, -1, -1):
        if number in todo:  # the programs of others are no concern
            needs[number] = used_objects(bundle, bundle.targets[number])
            for item in objects.missing(needs[number]):
                place = bundle.places.get(item)
                here = place is not None and place.target < number
                need(here, f"no base has the content {bundle.digests[item].hex()}", 6)
                if place:
                    placed.setdefault(place.target, set()).add(item)
                    todo.add(place.target)
    for number in sorted(todo - {wanted}):
        with tempfile.TemporaryFile() as file:
            make_one(bundle, number, objects, needs[number], file)
            file.flush()
            made = mapped(file)
        for item in placed[number]:
            objects.take(item, made)
    make_one(bundle, wanted, objects, needs[wanted], out)


def make_one(bundle: Bundle, number: int, objects: Objects, used: set[int], out: IO[bytes]) -> None:
    """Make one target of objects that are there."""
    plan = Plan(bundle, bundle.targets[number], objects.all(used))
    output = Output(plan.target, out, 6 if used else 7)
    run = Run(plan)
    for piece in run.output():
        output.write(piece)
    spend(bundle, run.cost - 16 * plan.target.size)
    output.finish()


def main() -> int:
    """Run the command."""
    try:
        arguments = sys.argv[1:]
        name, expected = None, []
        while arguments[:1] in (["--target"], ["--expect"]):
            need(len(arguments) > 2, USAGE, 2)
            if arguments[0] == "--target":
                name = arguments[1]
            else:
                need(re.fullmatch("sha256:[0-9a-f]{64}", arguments[1]), USAGE, 2)
                expected.append(arguments[1][7:])
            del arguments[:2]
        paths = [Path(argument) for argument in arguments]
        decode(paths, sys.stdout.buffer, name, expected)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0
