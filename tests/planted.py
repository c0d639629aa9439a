"""Plant faults in the decoder, one at a time, and find the test that catches each fault.

Run ``python -m tests.planted [NUMBER...]``. Each fault is put into a copy of the package. The vectors, the fuzz corpora
and the other tests then run with this copy, in this order. The script prints a table in Markdown, such as the one in
tests/planted.md. Its exit code is 1 if a fault was not caught.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from dibundle.codecs.native import build

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dibundle", "tests", "spec", "pyproject.toml")
CATCHERS = (  # they run in this order; the first catcher that fails has caught the fault
    ("vectors", ("tests/test_vectors.py", "-k", "dib_agrees")),
    ("corpora", ("tests/fuzz/test_corpus.py", "-k", "test_kept or test_seeds or mutated")),
    ("tests", ("tests/format", "tests/codecs", "tests/images", "tests/test_expect.py")),
)


class Fault(NamedTuple):
    """A check that is removed or weakened. The check is found by its error or expression, not by its line.

    ``check`` is the code of an error that the fault suppresses. Without ``check``, ``instead`` replaces an expression
    in a function.
    """

    what: str
    file: str
    check: str = ""
    function: str = ""
    expression: str = ""
    instead: str = ""


READER, MANIFEST, WIRE = "format/reader.py", "format/manifest.py", "format/wire.py"
PROGRAM, PLAN, OUTPUT = "format/program.py", "format/plan.py", "format/output.py"
COVER_C, NUMBERS_C, VCDIFF_C = (f"codecs/native/{name}.c" for name in ("cover", "numbers", "vcdiff"))
MODEL_C, INFLATE_C = "codecs/native/model.c", "codecs/native/deflate/inflate.c"

FAULTS = (
    Fault("the manifest's digest is not checked", READER, "bundle.manifest_digest"),
    Fault("a frame's digest is not checked", READER, "bundle.frame_digest"),
    Fault("bytes behind the last frame are allowed", READER, "bundle.trailing_bytes"),
    Fault(
        "a signature of a byte more than allowed",
        "format/header.py",
        function="signature_length",
        expression="length > MAX_SIGNATURE",
        instead="length > MAX_SIGNATURE + 1",
    ),
    Fault(
        "msgpack in longer forms is allowed",
        WIRE,
        function="_number",
        expression="value < max(shorter, default=high - low)",
        instead="False",
    ),
    Fault(
        "numbers of columns in longer forms",
        WIRE,
        function="next",
        expression="byte == 0 or byte >= 0x80",
        instead="byte >= 0x80",
    ),
    Fault(
        "numbers of columns without a limit",
        WIRE,
        function="next",
        expression="byte == 0 or byte >= 0x80",
        instead="byte == 0",
    ),
    Fault("no limit on what frames cost", MANIFEST, "limit.work"),
    Fault(
        "a source may end behind its object",
        MANIFEST,
        function="_check_ranges",
        expression="ranges.offsets[row] + ranges.lengths[row] > size",
        instead="ranges.offsets[row] > size",
    ),
    Fault(
        "a codec that section 1 does not list",
        "format/sections.py",
        function="read_frames",
        expression="_check_bytes(codec_column, codecs, 'codec')",
        instead="_check_bytes(codec_column, range(7), 'codec')",
    ),
    Fault(
        "one byte more than the object has",
        PROGRAM,
        function="take",
        expression="length > size - offset",
        instead="length > size - offset + 1",
    ),
    Fault("operations of length 0", PROGRAM, "program.empty_operation"),
    Fault("mode may change a size", PROGRAM, "program.mode_changes_size"),
    Fault(
        "a repeat may read past its frame by one",
        PLAN,
        function="repeat",
        expression="repeat.offset + repeat.length > self._table.sizes[repeat.frame]",
        instead="repeat.offset + repeat.length > self._table.sizes[repeat.frame] + 1",
    ),
    Fault("no limit on frames kept", PLAN, "limit.live_frames"),
    Fault("decoded bytes may be left over", PLAN, "program.bytes_left"),
    Fault(
        "the rest's digest is not checked",
        OUTPUT,
        function="finish",
        expression="partial(self._check, self._rest, self._target.rest_digest, 'the rest of the archive')",
        instead="lambda: None",
    ),
    Fault(
        "the tail begins a byte later",
        OUTPUT,
        function="_pass_on",
        expression="self._target.tail - self._written",
        instead="self._target.tail + 1 - self._written",
    ),
    Fault("a text may be longer than its field", PROGRAM, "program.text_too_long"),
    Fault("a re-encoder that section 1 does not list", "codecs/recompression.py", "recipe.encoder_not_listed"),
    Fault(
        "an encoder of frames in a packing of codec 6",
        "codecs/embedded.py",
        function="_read",
        expression="encoders.KNOWN.intersection(reencoders)",
        instead="reencoders",
    ),
    Fault("bits behind the last literal", "codecs/deflate/recipe.py", "recipe.padding_not_zero"),
    Fault("a zstd window of any size", "codecs/zstd.py", "limit.zstd_window"),
    Fault(
        "LZMA2 with bytes behind its end",
        "codecs/streams.py",
        function="_unpack_lzma2",
        expression="len(data) != size or not decompressor.eof or decompressor.unused_data",
        instead="len(data) != size or not decompressor.eof",
    ),
    Fault("too many regions of tables", "codecs/relink.py", "relink.too_many_tables"),
    Fault(
        "C: a cover may start behind the source",
        COVER_C,
        function="dib_cover_place",
        expression="source > source_size || length > source_size - source",
        instead="source > source_size",
    ),
    Fault(
        "C: a run of a sparse difference too long by one",
        NUMBERS_C,
        function="dib_sparse_join",
        expression="length > size - at - gap ||",
        instead="length > size - at - gap + 1 ||",
    ),
    Fault(
        "C: a copy from where nothing is yet",
        VCDIFF_C,
        function="dib_vcdiff_window",
        expression="address < 0 || address >= here",
        instead="address < 0 || address > here",
    ),
    Fault(
        "C: bytes left over in a vcdiff window",
        VCDIFF_C,
        function="dib_vcdiff_window",
        expression="d.at == d.end && a.at == a.end",
        instead="a.at == a.end",
    ),
    Fault(
        "C: the end of a model's stream is not checked",
        MODEL_C,
        function="dib_model_decode",
        expression="c.at == c.size && c.code == 0",
        instead="c.at == c.size",
    ),
    Fault(
        "C: a match from before the content",
        INFLATE_C,
        function="too_far",
        expression="distance > f->kept && distance",
        instead="0 && distance",
    ),
)


def planted(text: str, fault: Fault) -> str:
    """Return a file's text with the fault in it. Raise ``ValueError`` unless the fault fits at exactly one place."""
    if fault.file.endswith(".c"):
        return _planted_in_c(text, fault)
    tree = ast.parse(text)
    change = _Change(fault)
    if fault.function:
        found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == fault.function]
        for node in found:
            node.body = [change.visit(line) for line in node.body]
    else:
        change.visit(tree)
    if change.count != 1:
        raise ValueError(f"{fault.what}: {change.count} places in {fault.file}")
    return ast.unparse(ast.fix_missing_locations(tree))


class _Change(ast.NodeTransformer):
    """A transformer that puts a fault into a syntax tree, and counts the places at which the fault fits."""

    def __init__(self, fault: Fault) -> None:
        self.count = 0
        self._constant = re.sub(r"[^A-Z0-9]", "_", fault.check.upper())
        self._old = ast.unparse(ast.parse(fault.expression, mode="eval")) if fault.expression else None
        self._new = fault.instead

    def visit_If(self, node: ast.If) -> ast.AST:
        raised = [line for line in node.body if isinstance(line, ast.Raise)]
        if self._constant and any(ast.unparse(line).count(f"messages.{self._constant}") for line in raised):
            self.count += 1
            node.test = ast.Constant(False)
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if self._old and isinstance(node, ast.expr) and ast.unparse(node) == self._old:
            self.count += 1
            return ast.parse(self._new, mode="eval").body
        return super().generic_visit(node)


def _planted_in_c(text: str, fault: Fault) -> str:
    """Return a C file's text with the fault in the function."""
    head = re.search(rf"^[A-Za-z][^\n;]*\b{fault.function}\([^;{{]*\)\s*\{{", text, re.MULTILINE)
    if not head:
        raise ValueError(f"{fault.what}: no function {fault.function} in {fault.file}")
    end = text.index("\n}", head.end())
    words = r"\s*".join(map(re.escape, re.findall(r"\w+|\S", fault.expression)))
    body, count = re.subn(words, lambda _: fault.instead, text[head.end() : end])
    if count != 1:
        raise ValueError(f"{fault.what}: {count} places in {fault.function}")
    return text[: head.end()] + body + text[end:]


def copy(folder: Path) -> None:
    """Copy the package, with its built library, and its tests."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def plant(folder: Path, fault: Fault) -> None:
    """Put a fault into a copy."""
    path = folder / "dibundle" / fault.file
    path.write_text(planted(path.read_text(), fault))
    if path.suffix == ".c":
        native = folder / "dibundle" / "codecs" / "native"
        subprocess.run(["cc", *build.arguments(native / build.LIBRARY, "-O2", folder=native)], check=True)


def caught(folder: Path) -> str | None:
    """Return the first catcher that fails on a copy, and its failed test. Return None if no catcher fails."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    for name, arguments in CATCHERS:
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
            test = failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else f"ended with {done.returncode}"
            return f"{name} | `{test.rpartition('::')[2]}`"
    return None


def main() -> int:
    """Try all faults, or the faults with the given numbers."""
    chosen = [int(item) for item in sys.argv[1:]] or range(1, len(FAULTS) + 1)
    missed = 0
    print("| | fault | file | caught by | the first to fail |\n|---|---|---|---|---|", flush=True)
    for number in chosen:
        fault = FAULTS[number - 1]
        with tempfile.TemporaryDirectory() as name:
            copy(Path(name))
            plant(Path(name), fault)
            found = caught(Path(name))
        missed += found is None
        print(f"| {number} | {fault.what} | {fault.file} | {found or 'nothing |'} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
