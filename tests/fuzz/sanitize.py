"""Tests of the C files with sanitizers.

Run ``python -m tests.fuzz.sanitize [PYTEST ARGUMENT...]``. By default, the tests of vectors and corpora run. In a copy
of the package, clang builds the library with two sanitizers, for addresses and for undefined behaviour. The tests run
with this copy. Leaks are not checked, because Python itself has leaks. With ``--fuzzer``, the script builds the library
for libFuzzer instead, and prints the library's folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dibundle.codecs.native.build import arguments as build_arguments

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("dibundle", "tests", "spec", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "LICENSES")
FLAGS = ("-g", "-fno-omit-frame-pointer", "-UNDEBUG")
CHECKS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-shared-libasan")
FUZZER = ("-O2", "-fsanitize=fuzzer-no-link,undefined", "-fno-sanitize-recover=undefined")
TESTS = (
    "tests/test_vectors.py",
    "tests/fuzz/test_corpus.py",
    "-k",
    "dib_agrees or (test_seeds and not bundle and not head) or test_kept or odd_inputs",
)


def build(folder: Path, flags: tuple[str, ...]) -> Path:
    """Copy the package into a folder, build its library with these flags, and return the library's path."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, folder)
    native = folder / "dibundle" / "codecs" / "native"
    library = native / "dib.so"
    subprocess.run(["clang", *build_arguments(library, *FLAGS, *flags, folder=native)], check=True)
    return library


def runtime() -> str:
    """Return the path of clang's shared address sanitizer, which must be loaded first."""
    command = ["clang", f"-print-file-name=libclang_rt.asan-{os.uname().machine}.so"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Build, and run the tests."""
    if sys.argv[1:2] == ["--fuzzer"]:
        print(build(Path(tempfile.mkdtemp(prefix="dib-fuzz-")), FUZZER).parents[2])
        return 0
    with tempfile.TemporaryDirectory() as name:
        build(Path(name), CHECKS)
        environment = {
            **os.environ,
            "LD_PRELOAD": runtime(),
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "DIB_SANITIZED": "1",
            "PYTHONMALLOC": "malloc",  # use malloc, so that the sanitizer checks the end of each buffer
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--capture=sys",
            *(sys.argv[1:] or TESTS),
        ]
        return subprocess.run(command, cwd=name, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
