"""The vectors of the specification.

The vectors cover the specification, and can be generated again. Both decoders give the same results for the vectors.
"""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dibundle.applying.expected import parse
from dibundle.applying.options import RebuildOptions
from dibundle.applying.rebuilding import rebuild_target
from dibundle.errors import DibError
from dibundle.files.context import Context
from dibundle.sources.access import Access
from dibundle.sources.opening import open_sources
from tests import needs
from tests.reference import decoder

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "spec"
FOLDER = SPEC / "vectors"
TEXTS = {path.stem: path.read_text() for path in sorted(SPEC.glob("*.md")) if path.stem != "requirements"}
DUTY = re.compile(r"M[0-9]+")
RULE = re.compile(r"[MPS][0-9]+")  # P: rules of profile.md; S: rules that other vectors show

ELSEWHERE = {  # tests of requirements that a bundle alone cannot show
    "S1": ("cli/test_signing.py", "test_a_signature_is_checked_before_anything_else_is_read"),
    "S2": ("cli/test_signing.py", "test_another_key_is_refused"),
    "S3": ("codecs/test_encoders.py", "test_an_encoder_that_does_not_work_is_refused"),
    "S4": ("test_expect.py", "test_refuses_another_image"),
    "S5": ("cli/test_signing.py", "test_a_bundle_for_something_else_is_refused"),
    "S6": ("test_expect.py", "test_a_digest_of_the_archive_that_is_only_declared_does_not_count"),
    "S7": ("differential/test_differential.py", "test_hostile_archives_are_refused"),
    "S8": ("test_expect.py", "test_refuses_an_image_beside_the_expected_one"),
}

# key: text and header row of a table; value: prefix of its fields in the vectors, and the columns with the fields'
# names
TABLES = {
    ("dib", "part | length | content"): ("file", [0]),
    ("dib", "offset | length | field | value"): ("header", [2]),
    ("dib", "length | field"): ("area", [1]),
    ("dib", "id | section | content"): ("section", [1]),
    ("dib", "kind | object"): ("object kind", [0]),
    ("dib", "added | the object is | bytes there"): ("object place", [0]),
    ("dib", "source kind | source of the frame"): ("source kind", [0]),
    ("dib", "field | form | meaning"): ("target", [0]),
    ("dib", "bit | field | bytes | numeric |  | bit | field | bytes | numeric"): ("field", [1, 6]),
    ("dib", "byte | name | columns | yields"): ("operation", [1]),
    ("dib", "field | form"): ("packing", [0]),
    ("dib", "number | name | frame"): ("codec", [0]),
    ("cover", "field | form"): ("cover", [0]),
    ("cover", "stream | content"): ("cover stream", [0]),
    ("cover", "number | name | stored form"): ("packer", [1]),
    ("deflate", "number | encoder | levels | parameter | who writes it"): ("encoder", [0]),
    ("zstd", "number | encoder | levels | parameter | who writes it"): ("encoder", [0]),
    ("relink", "field | form"): ("relink", [0]),
    ("relink", "stream | content"): ("relink stream", [0]),
    ("relink", "mode | name | what is rewritten"): ("relink mode", [1]),
    ("unpack", "field | form"): ("unpack", [0]),
    ("vcdiff", "field | form |"): ("vcdiff", [0]),
    ("vcdiff", "address mode | in the addresses section | address"): ("vcdiff address mode", [0]),
    ("vcdiff", "codes | first instruction | second"): ("vcdiff codes", [0]),
}
NO_FIELDS = (
    *("limit |", "file |", "step |", "column |", "mode | a part is", "numbers |", "who |", "state |"),
    *("encoder | levels |", "exit code |", "label |", "member |", "thing |", "codec | ns", "object | keys", "blob |"),
    "the user gave |",
)
IN_PROSE = {  # the lists of fields in sections 3 and 4.3 of dib.md; each key is the prefix of the fields in the vectors
    "requires": "[codecs, transforms, re-encoders]",
    "objects": "[kinds, sizes, digests, targets, offsets, lengths]",
    "segments": "[lengths, kinds, digests]",
    "about": "[bases, targets, notes]",
    "images": "[names, id, diffIDs]",
    "names": "[lists]",
    "column": (
        "ops, seek_object, seek_offset, keep, count, stream, raw, replace, zero, repeat_frame, repeat_offset, repeat, "
        "register, shapes, shape, mode, uid, gid, size, mtime, devmajor, devminor, text, packing, packed"
    ),
}
BESIDES = {  # fields that the specification describes in sentences, not in a list
    "frames": (
        *("stream", "codec", "source kind", "stored length", "size", "source size", "source count"),
        *("source object", "source offset", "source length", "digests"),
    ),
    "form": ("object", "size", "digest", "packing"),
}


def loaded(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module


runner = loaded(FOLDER / "run.py")
VECTORS = list(runner.vectors())
each = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["bundle"])


def options(arguments: list[str]) -> tuple[str | None, list[str], list[str]]:
    """Return the target's name, the expected digests and the paths of a command."""
    target, expected = None, []
    while arguments[0].startswith("--"):
        if arguments[0] == "--target":
            target = arguments[1]
        else:
            expected.append(arguments[1])
        arguments = arguments[2:]
    return target, expected, arguments


def by_dib(arguments: list[str]) -> Any:
    target, expected, paths = options(arguments)
    out = io.BytesIO()
    with Context() as context:
        try:
            opened = open_sources(paths, Access(), context)
            how = RebuildOptions(target=target, expect=frozenset(map(parse, expected)))
            rebuild_target(opened.archives, opened.read_bundle(), out.write, how, context)
        except DibError as error:
            return runner.Ended(error.exit_code, out.getvalue())
    return runner.Ended(0, out.getvalue())


def by_reference(arguments: list[str]) -> Any:
    target, expected, paths = options(arguments)
    out = io.BytesIO()
    try:
        decoder().decode([Path(path) for path in paths], out, target, [text[7:] for text in expected])
    except decoder().Refused as error:
        return runner.Ended(error.code, out.getvalue())
    return runner.Ended(0, out.getvalue())


@each
def test_dib_agrees(vector: dict[str, Any]) -> None:
    assert runner.fault(vector, by_dib(runner.arguments(vector))) is None


@each
@pytest.mark.slow
def test_the_reference_decoder_agrees(vector: dict[str, Any]) -> None:
    assert runner.fault(vector, by_reference(runner.arguments(vector))) is None


def rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of all tables, each row with the header of its table."""
    head = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.removeprefix("|").rstrip().removesuffix("|").split("|")]
        if not line.startswith("|"):
            head = ""
        elif not head:
            head = " | ".join(cells).strip()
        elif line.strip("|- "):
            yield head, cells


def fields() -> Iterator[str]:
    """Yield the names of all fields of the specification, in the spelling of the vectors."""
    for text, whole in TEXTS.items():
        for head, cells in rows(whole):
            if head.startswith(NO_FIELDS):
                continue
            kind, columns = TABLES[text, head]
            for cell in (cells[column] for column in columns if column < len(cells) and cells[column]):
                named = re.split("[,; ]", cell)[0] if kind == "area" else cell
                yield f"{kind}.{re.sub('^[0-4] ', '', named) if kind.endswith('stream') else named}"
    prose = TEXTS["dib"].replace("\n", " ")
    for kind, listed in IN_PROSE.items():
        assert listed in prose
        yield from (f"{kind}.{name}" for name in listed.strip("[]").split(", "))
    for kind, names in BESIDES.items():
        yield from (f"{kind}.{name}" for name in names)


def test_every_requirement_has_vectors() -> None:
    stated = {requirement for text in TEXTS.values() for requirement in re.findall(r"\[(M[0-9]+)\]", text)}
    tested = {item for vector in VECTORS for item in vector["tests"] if DUTY.fullmatch(item)}
    assert stated == tested == {f"M{number}" for number in range(1, len(stated) + 1)}
    assert f"M1 to M{len(stated)}, S1 to S{len(ELSEWHERE)}" in TEXTS["dib"]


def test_every_rule_of_the_profile_has_vectors() -> None:
    stated = re.findall(r"^- (P[0-9]+)\. ", TEXTS["profile"], re.MULTILINE)
    bad = {item for vector in VECTORS if vector["codes"][0] for item in vector["tests"] if item[0] == "P"}
    assert stated == [f"P{number}" for number in range(1, len(stated) + 1)]
    assert bad == set(stated)


def test_a_bad_vector_says_which_requirement_it_asks_for() -> None:
    bad = [vector for vector in VECTORS if vector["codes"][0]]
    assert [vector["name"] for vector in bad if not any(map(RULE.fullmatch, vector["tests"]))] == []


def test_every_field_has_vectors() -> None:
    tested = {item for vector in VECTORS for item in vector["tests"] if not RULE.fullmatch(item)}
    assert set(fields()) == tested


def test_other_requirements_are_tested_elsewhere() -> None:
    stated = {requirement for text in TEXTS.values() for requirement in re.findall(r"\[(S[0-9]+)\]", text)}
    assert stated == ELSEWHERE.keys()
    for path, name in ELSEWHERE.values():
        assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text()


def test_the_list_of_requirements_is_up_to_date() -> None:
    assert loaded(FOLDER / "requirements.py").text() == (SPEC / "requirements.md").read_text()


def test_the_worked_example_is_the_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    assert loaded(FOLDER / "example.py").text() in TEXTS["dib"]


def test_file_knows_bundles() -> None:
    needs.programs("file")
    paths = [FOLDER / "ok" / f"{name}.dib" for name in ("stored", "signature-area-holds-anything")]
    for options, wanted in (
        ([], ["dib bundle, version 1", "dib bundle, version 1, signed"]),
        (["--mime-type"], ["application/vnd.dib.bundle.v1"] * 2),
        (["--extension"], ["dib"] * 2),
    ):
        command = ["file", "-b", *options, "-m", SPEC / "dib.magic", *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == wanted


def test_there_are_enough() -> None:
    good = [vector for vector in VECTORS if vector["codes"][0] == 0]
    assert len(good) >= 40
    assert len(VECTORS) - len(good) >= 120
    assert len({vector["bundle"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.slow
def test_they_can_be_made_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(FOLDER / "make.py"), str(tmp_path)], check=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = [path for name in ("base", "ok", "bad") for path in (FOLDER / name).iterdir()]
    kept = {path.relative_to(FOLDER): path.read_bytes() for path in (*names, FOLDER / "index.json")}
    assert sorted(made) == sorted(kept)
    assert [path for path in made if made[path] != kept[path]] == []


def test_the_runner_tells_right_from_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    some = [vector for vector in VECTORS if vector["name"] in {"stored", "magic", "second-of-two-targets"}]
    monkeypatch.setattr(runner, "vectors", lambda: some)
    monkeypatch.setattr(sys, "argv", ["run.py", sys.executable, "-I", str(SPEC / "decoder")])
    assert runner.main() == 0
    assert capsys.readouterr().out == "3 vectors, 3 right, 0 wrong\n"
    monkeypatch.setattr(sys, "argv", ["run.py", sys.executable, "-c", "print('something else')"])
    assert runner.main() == 1
    told = capsys.readouterr().out
    assert "ok/stored.dib: another output, of 15 bytes, wanted 1000\n" in told
    assert "bad/magic.dib: exit code 0, wanted 5\n" in told
    assert told.endswith("3 vectors, 0 right, 3 wrong\n")


@pytest.mark.parametrize("released", [b"anything else", bytes(512)])
def test_the_runner_sees_what_was_released_too_early(released: bytes) -> None:
    (vector,) = (vector for vector in VECTORS if vector["name"] == "rest-digest")
    assert "released" in runner.fault(vector, runner.Ended(7, released))
