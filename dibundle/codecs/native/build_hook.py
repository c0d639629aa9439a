"""The build hook, which compiles the C files here into one shared library when the package is built or installed.

The hook runs inside hatchling, for wheels and for editable installs. The hook uses the machine's compiler. If no
compiler works, it uses zig from PyPI.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """A build hook that compiles the C files and puts the library into the wheel."""

    def dependencies(self) -> list[str]:
        """Return further dependencies of the build. If the machine has no compiler, a compiler from PyPI is added."""
        return [] if any(map(_works, _system_compilers())) else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library before the wheel (``version`` is "standard" or "editable") and set the wheel's platform."""
        if self.target_name != "wheel":
            return
        if version == "standard":
            self._write_manual(build_data)
        folder = Path(self.root) / "dibundle" / "codecs" / "native"
        build = self._imported("dibundle.codecs.native.build")
        library = folder / build.LIBRARY
        _compile(build, library)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag()}"
        build_data["force_include"][str(library)] = f"dibundle/codecs/native/{library.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete files that only the wheel (``artifact_path``) needs."""
        if self.target_name == "wheel" and version == "standard":
            shutil.rmtree(Path(self.directory) / "man")

    def _imported(self, name: str) -> ModuleType:
        """Import a module from the source tree instead of the installed package."""
        sys.path.insert(0, self.root)
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(self.root)

    def _write_manual(self, build_data: dict[str, Any]) -> None:
        """Put the manual pages into the wheel. Rendering the pages needs the package's own dependencies."""
        pages = self._imported("dibundle.cli.man").pages
        folder = Path(self.directory) / "man"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages().items():
            (folder / name).write_text(text)
            build_data["shared_data"][str(folder / name)] = f"share/man/man1/{name}"


def _system_compilers() -> list[list[str]]:
    """Return the commands of the C compilers on this machine; $CC comes first."""
    named = shlex.split(os.environ.get("CC", ""))
    commands = [named] if named and shutil.which(named[0]) else []
    return commands + [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]


def _works(command: list[str]) -> bool:
    """Return whether a compiler works and finds the C headers, which Debian's gcc package lacks."""
    program = '#include <stdint.h>\n#include <string.h>\nint dib(void) { return (int)strlen(""); }\n'
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "dib.c")
        source.write_text(program)
        try:
            done = subprocess.run(
                [*command, "-shared", "-fPIC", "-o", Path(folder, "dib.so"), source],
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def _compile(build: ModuleType, library: Path) -> None:
    """Compile the sources to ``library`` with the first compiler that works. Never leave a half-written library."""
    commands = _system_compilers()
    if importlib.util.find_spec("ziglang"):
        # by default, zig optimises for this machine's processor, but a wheel must also run on other processors
        commands.append([sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"])
    partial = library.with_suffix(".partial")
    library.unlink(missing_ok=True)
    for command in commands:
        try:
            done = subprocess.run(
                [*command, *build.arguments(partial, "-O2")], capture_output=True, timeout=300, check=False
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0 and partial.exists():
            partial.replace(library)
            return
    partial.unlink(missing_ok=True)
    tried = ", ".join(command[0] for command in commands) or "none found"
    sys.exit(f"dib needs a C compiler to be built ({tried}): apt-get install gcc libc6-dev, or pip install ziglang")


def _platform_tag() -> str:
    """Return the wheel's platform tag for this machine, such as ``linux_x86_64``."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
