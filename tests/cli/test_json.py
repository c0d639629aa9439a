"""The --json output of every command, its errors and its progress match spec/json. stdout has exactly one document."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests import pairs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.pairs import Pair
from tests.program import dib, succeed
from tests.sources.conftest import registry  # noqa: F401 - a fixture

SCHEMAS = Path(__file__).parents[2] / "spec" / "json"


def strict(value: Any) -> Any:
    """Return a strict form of a schema, which refuses members that the schema does not describe."""
    if isinstance(value, list):
        return [strict(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: strict(item) for key, item in value.items()}
    if found.get("type") == "object" and "properties" in found:
        found["additionalProperties"] = False
    return found


@cache
def validators() -> dict[str, Draft202012Validator]:
    schemas = {path.name: strict(json.loads(path.read_text())) for path in SCHEMAS.glob("*.json")}
    known: Registry[Any] = Registry().with_resources(
        [(name, Resource.from_contents(value)) for name, value in schemas.items()]
    )
    return {name: Draft202012Validator(value, registry=known) for name, value in schemas.items()}


def checked(schema: str, text: bytes | str) -> dict[str, Any]:
    document = json.loads(text)
    assert document["schema"] == schema
    validators()[schema.replace("/", "-") + ".json"].validate(document)
    return document


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pairs.make(tmp_path_factory.mktemp("json"), megabytes=1)


def test_schemas_are_schemas() -> None:
    for validator in validators().values():
        Draft202012Validator.check_schema(validator.schema)


COMMANDS: dict[str, tuple[str, Callable[[Pair, Path], list[object]]]] = {
    "create": ("dib.create/1", lambda p, t: ["create", p.base, p.target, t / "o.dib"]),
    "create --split": ("dib.create/1", lambda p, t: ["create", "--split", "70000", p.base, p.target, t / "o.dib"]),
    "create --dry-run": ("dib.estimate/1", lambda p, t: ["create", "--dry-run", p.base, p.target, t / "o.dib"]),
    "create --dry-run, no OUT": ("dib.estimate/1", lambda p, t: ["create", "--dry-run", p.base, p.target]),
    "create --dry-run --no-base": ("dib.estimate/1", lambda p, t: ["create", "--dry-run", "--no-base", p.target]),
    "apply": ("dib.apply/1", lambda p, t: ["apply", p.base, p.bundle, "-o", t / "b.tar"]),
    "apply into a folder": ("dib.apply/1", lambda p, t: ["apply", p.base, p.bundle, "-o", f"{t}/new/"]),
    "apply --format oci:": ("dib.apply/1", lambda p, t: ["apply", p.base, p.bundle, "--format", f"oci:{t}/layout"]),
    "apply --check": ("dib.check/1", lambda p, t: ["apply", "--check", p.base, p.bundle]),
    "inspect": ("dib.inspect/1", lambda p, t: ["inspect", p.bundle]),
    "inspect --list": ("dib.inspect/1", lambda p, t: ["inspect", "--list", p.bundle]),
    "inspect --list --base": ("dib.inspect/1", lambda p, t: ["inspect", "--list", "--base", p.base, p.bundle]),
    "inspect --tree": ("dib.inspect/1", lambda p, t: ["inspect", "--tree", p.bundle]),
    "inspect --layers": ("dib.inspect/1", lambda p, t: ["inspect", "--layers", p.alone]),
    "diff": ("dib.diff/1", lambda p, t: ["diff", p.base, p.target]),
    "diff --tree": ("dib.diff/1", lambda p, t: ["diff", "--tree", p.base, p.target]),
    "report": ("dib.report/1", lambda p, t: ["report", p.bundle, "--base", p.base, "-o", t / "o.html"]),
    "verify": ("dib.verify/1", lambda p, t: ["verify", p.bundle]),
    "verify --base": ("dib.verify/1", lambda p, t: ["verify", p.bundle, "--base", p.base]),
    "wrap": (
        "dib.wrap/1",
        lambda p, t: ["wrap", p.bundle, "--linked", "--base", p.base, "--tag", "d:1", "-o", t / "w.tar"],
    ),
    "dockerfile create": (
        "dib.dockerfile/1",
        lambda p, t: ["dockerfile", "create", "--unlinked", "a.tar", "b.tar"],
    ),
    "dockerfile apply": ("dib.dockerfile/1", lambda p, t: ["dockerfile", "apply", "a.tar", "a.dib"]),
    "demo": ("dib.demo/1", lambda p, t: ["demo"]),
    "doctor": ("dib.doctor/1", lambda p, t: ["doctor"]),
    "completion": ("dib.completion/1", lambda p, t: ["completion", "zsh"]),
}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command(pair: Pair, tmp_path: Path, name: str) -> None:
    schema, arguments = COMMANDS[name]
    checked(schema, succeed(*map(str, arguments(pair, tmp_path)), "--json").out)


def test_merge_and_unwrap(pair: Pair, tmp_path: Path) -> None:
    back = tmp_path / "back.dib"
    succeed("create", pair.target, pair.base, back)
    merged = succeed("merge", pair.base, pair.bundle, back, "-o", tmp_path / "m.dib", "--json")
    checked("dib.merge/1", merged.out)
    wrapped = tmp_path / "w.tar"
    succeed("wrap", pair.bundle, "--unlinked", "--tag", "d:1", "-o", wrapped)
    checked("dib.unwrap/1", succeed("unwrap", wrapped, "-o", tmp_path / "u.dib", "--json").out)


def test_timings_are_a_document_of_its_own(pair: Pair, tmp_path: Path) -> None:
    succeed("create", "--timings", tmp_path / "t.json", pair.base, pair.target, tmp_path / "o.dib")
    document = json.loads((tmp_path / "t.json").read_text())
    validators()["dib.timings-1.json"].validate(document)
    assert 0 < sum(frame["stored"] for frame in document["frames"]) < (tmp_path / "o.dib").stat().st_size


def test_have_is_json_anyway(pair: Pair) -> None:
    plain, asked = succeed("inventory", pair.base).out, succeed("inventory", pair.base, "--json").out
    assert plain == asked
    validators()["dib.inventory-1.json"].validate(json.loads(plain))


def test_errors(pair: Pair, tmp_path: Path) -> None:
    for code, name, arguments in (
        (2, "UsageError", ["create", "--json"]),
        (2, "UsageError", ["create", "--json", "--nonsense"]),
        (2, "UsageError", ["apply", pair.base, pair.bundle, "--json"]),
        (3, "AbsentError", ["apply", "absent.dib", "--json", "-o", tmp_path / "b.tar"]),
        (4, "ArchiveError", ["create", "--json", SCHEMAS / "README.md", pair.target, tmp_path / "o.dib"]),
        (5, "BundleError", ["apply", "--max-size", "9", pair.base, pair.bundle, "--json", "-o", tmp_path / "b.tar"]),
        (6, "BaseMismatchError", ["apply", "--json", pair.bundle, "-o", tmp_path / "b.tar"]),
        (8, "UnexpectedError", ["verify", "--json", pair.bundle, "--base", pair.base, "--expect", "0" * 64]),
    ):
        ended = dib(*map(str, arguments))
        assert ended.code == code
        document = checked("dib.error/1", ended.out)
        assert (document["class"], document["exit_code"]) == (name, code)
        assert ended.err.startswith("dib: error: ")
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    name = b"caf\xe9"
    target, out = tmp_path / "t.tar", tmp_path / "o.dib"
    layer = build_layer([file(name.decode("utf-8", "surrogateescape"), b"x" * 100)])
    target.write_bytes(docker_save([TestImage([layer], ["n:1"])]))
    succeed("create", "--no-base", target, out)
    document = checked("dib.inspect/1", succeed("inspect", "--list", "--json", out).out)
    (line,) = [line for line in document["operations"] if "path_b64" in line]
    assert line["path"] == "caf\ufffd"
    assert base64.b64decode(line["path_b64"]) == name


def test_progress_lines(pair: Pair, tmp_path: Path) -> None:
    ended = succeed("create", "--progress", "json", "-q", pair.base, pair.target, tmp_path / "o.dib")
    assert ended.out == b""
    events = [checked("dib.progress/1", line)["event"] for line in ended.err.splitlines()]
    assert events.count("begin") == events.count("end") == 3


def test_registries(registry: Any, pair: Pair, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    name = f"docker://{registry.host}/app:1-2"
    checked("dib.push/1", succeed("push", pair.bundle, name, "--json").out)
    checked("dib.list/1", succeed("list", name.rpartition(":")[0], "--json").out)
    checked("dib.delete/1", succeed("delete", "--orphans", name.rpartition(":")[0], "--json").out)
    checked("dib.pull/1", succeed("pull", name, "-o", tmp_path / "p.dib", "--json").out)
