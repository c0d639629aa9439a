"""Build the C library with each installed compiler. If there is no compiler, an error says so."""

import sys
from pathlib import Path

import pytest

from dibundle.codecs.native import build
from dibundle.codecs.native import build_hook as hook

BROKEN = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("program", [None, BROKEN])
def test_without_a_compiler_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_zig: None, program: str | None
) -> None:
    if program:
        (tmp_path / "cc").write_text(program)
        (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(SystemExit) as ended:
        hook._compile(build, tmp_path / "dib.so")
    told = str(ended.value)
    assert told.startswith("dib needs a C compiler to be built (" + ("cc" if program else "none found"))
    assert told.endswith(": apt-get install gcc libc6-dev, or pip install ziglang")
    assert "\n" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == (["cc"] if program else [])
    assert hook.NativeBuildHook.dependencies(None) == ["ziglang"]  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["aarch64-macos", "x86_64-macos", "aarch64-linux-musl"])
def test_zig_builds_for_other_systems(tmp_path: Path, target: str) -> None:
    pytest.importorskip("ziglang")
    output = tmp_path / "dib.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    hook.subprocess.run([*command, *build.arguments(output, "-O2")], check=True)
    magic = output.read_bytes()[:4]
    assert magic == (b"\xcf\xfa\xed\xfe" if "macos" in target else b"\x7fELF")
