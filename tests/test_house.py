"""The structure of the source: few packages, short modules, a correct map, and unique type names. Every error message
has a code.
"""

from __future__ import annotations

import ast
import re
import string
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibundle.cli.error_codes import every
from tests import texts

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dibundle"
MODULES = sorted(PACKAGE.rglob("*.py"))
ERRORS = re.compile(r"\w+Error")


def test_few_entries_at_the_top() -> None:
    names = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    assert len(names) <= 12, sorted(names)


def test_modules_are_short() -> None:
    long = {
        str(path.relative_to(PACKAGE)): count for path in MODULES if (count := len(path.read_text().splitlines())) > 450
    }
    assert long == {}


def test_the_map_names_every_package_and_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = {row[1]: row[0] for row in re.findall(r"^(\| `([a-z_/]+)/?` \|.*)$", text, re.MULTILINE)}
    missing = []
    for path in MODULES:
        package = str(path.parent.relative_to(PACKAGE))
        if path.name in ("__init__.py", "__main__.py", "messages.py"):
            continue
        row = rows.get(path.stem if package == "." else f"{package}/", "")
        if not row or (package != "." and f"`{path.stem}`" not in row):
            missing.append(str(path.relative_to(PACKAGE)))
    assert missing == []
    named = {f"{package}{name}" for package, row in rows.items() if package.endswith("/") for name in _modules(row)}
    assert named <= {str(path.relative_to(PACKAGE)).removesuffix(".py") for path in MODULES}


def _modules(row: str) -> Iterator[str]:
    cells = row.split(" | ")
    yield from (name for name in re.findall(r"`([a-z_]+)`", cells[-1]) if len(cells) > 2)


def test_no_two_public_types_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def raises() -> Iterator[tuple[Path, ast.Call, str]]:
    """For each call that constructs an error from a message, yield the file, the call, and the constant with the
    message.
    """
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                constants = [
                    item.attr
                    for item in ast.walk(node.args[0])
                    if isinstance(item, ast.Attribute)
                    and isinstance(item.value, ast.Name)
                    and "messages" in item.value.id
                ]
                if constants and isinstance(node.args[0], ast.Attribute | ast.IfExp):
                    yield from ((path, node, constant) for constant in constants)


def test_every_text_is_raised_with_its_fields() -> None:
    known = {(package, name): message for package, name, message in every()}
    words = {"dib", "docker", "save", "load", "transport", "give", "host", "repository"}
    wrong = []
    for path, call, constant in raises():
        given = {keyword.arg for keyword in call.keywords}
        if None in given:
            continue
        candidates = [message for (_, name), message in known.items() if name == constant]
        assert candidates, (path, constant)
        fits = any(
            {
                field
                for text in (item.text, item.hint or "")
                for _, field, _, _ in string.Formatter().parse(text)
                if field
            }
            - words
            <= given
            for item in candidates
        )
        if not fits:
            wrong.append(f"{path.name}:{call.lineno} {constant} {sorted(filter(None, given))}")
    assert wrong == []


def test_every_text_is_used() -> None:
    source = "\n".join(path.read_text() for path in MODULES if path.name != "messages.py")
    assert [name for _, name, _ in every() if not re.search(rf"messages\.{name}\b", source)] == []


def test_codes_are_stable_names() -> None:
    assert all(re.fullmatch(r"[a-z]+\.[a-z0-9_]+", message.code) for _, _, message in every())


def test_the_table_of_texts_is_the_one_of_the_code() -> None:
    assert texts.TABLE.read_text() == texts.table(), "python -m tests.texts writes it anew"


WITHOUT_CLICK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "click":
            raise ModuleNotFoundError("no click here", name="click")
sys.meta_path.insert(0, Refuse())
import dibundle
for name in dibundle.__all__:
    getattr(dibundle, name)
base, target, out = sys.argv[1:]
dibundle.create(base, target, out)
assert b"".join(dibundle.apply([base, out])) == open(target, "rb").read()
assert "click" not in sys.modules
"""


@pytest.mark.usefixtures("pair")
def test_the_library_needs_no_click(pair, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_CLICK, pair.base, pair.target, tmp_path / "out.dib"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_notice_names_every_c_file() -> None:
    notice = (ROOT / "NOTICE").read_text()
    native = PACKAGE / "codecs" / "native"
    for path in native.rglob("*.c"):
        assert re.search(rf"\b{path.stem}\.c\b", notice), path
    for name in re.findall(r"LICENSES/[a-z-]+\.txt", notice):
        assert (ROOT / name).exists()
