"""Every function of the public API has an example in docs/examples.py, and all examples run, one after the other."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import dibundle
from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import edited, noise, text
from tests.sources.conftest import put_image
from tests.sources.server import serve

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples.py"
FUNCTIONS = [name for name in dibundle.__all__ if inspect.isfunction(getattr(dibundle, name))]
RUN = """
import runpy, sys
found = runpy.run_path(sys.argv[1])
for name, value in found.items():
    if callable(value) and getattr(value, "__module__", "") == "<run_path>":
        value()
"""


def test_every_function_has_an_example() -> None:
    source = EXAMPLES.read_text()
    assert [name for name in FUNCTIONS if f"\ndef {name}() -> None:" not in source] == []
    assert [name for name in FUNCTIONS if f"dibundle.{name}(" not in source] == []


def test_every_function_has_a_text_and_types() -> None:
    for name in FUNCTIONS:
        function = getattr(dibundle, name)
        assert inspect.getdoc(function)
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(item.annotation is not inspect.Parameter.empty for item in signature.parameters.values())


def test_all_examples_run(tmp_path: Path) -> None:
    needs.programs("ssh-keygen")
    layers = [build_layer([file("data", noise(9, 300_000))])]
    for number, name in enumerate(("old", "new", "newer"), 1):
        top = build_layer([file("app", edited(text(1, 200_000), number)), file("new", noise(number, 150_000))])
        image = TestImage([*layers, top], [f"app:{number}"])
        (tmp_path / f"{name}.tar").write_bytes(docker_save([image], "v25"))
        (tmp_path / f"{number}.oci.tar").write_bytes(docker_save([image], "oci", "gzip"))
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/stand_in.py docker "$@"\n')
    docker.chmod(0o755)
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", key], check=True)
    (tmp_path / "allowed_signers").write_text(f"me {key.with_suffix('.pub').read_text()}")
    with serve() as registry:
        put_image(registry, tmp_path / "2.oci.tar", "2", "app")
        script = tmp_path / "examples.py"
        script.write_text(EXAMPLES.read_text().replace("localhost:5000", registry.host))
        env = {**os.environ, "MACHINE": str(tmp_path), "PATH": f"{docker.parent}:{os.environ['PATH']}"}
        env["PYTHONPATH"] = str(ROOT)
        run = subprocess.run(
            [sys.executable, "-c", RUN, script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "new.tar").read_bytes()
    assert "signed by me" in run.stdout
