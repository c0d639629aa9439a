"""dib.pyz is built from this repository and PyPI, runs in a Python without installed packages, and explains its
failures.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import code, edited, noise, text
from tests.program import succeed

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
PYTHON = "/usr/bin/python3"
BUILDS = 16


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("DIB_PYZ")  # an existing dib.pyz
    if given:
        return Path(given)
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("not installed: ziglang")
    path = tmp_path_factory.mktemp("pyz") / "dib.pyz"
    done = subprocess.run([sys.executable, ROOT / "pyz" / "make.py", path], capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("PyPI cannot be reached, or has no wheels for one of the Pythons")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with out.dib, and with a.tar and b.tar, which have gzip layers."""
    work = tmp_path_factory.mktemp("pair")
    for number, name in ((1, "a"), (2, "b")):
        layers = [
            build_layer([file("usr/lib/x", edited(code(1, 300_000), number)), file("usr/same", noise(1, 100_000))]),
            build_layer([file("app/text", text(2, 50_000) + b"%d" % number)]),
        ]
        (work / f"{name}.tar").write_bytes(docker_save([TestImage(layers, [f"app:{number}"])], "oci", "gzip"))
    succeed("create", work / "a.tar", work / "b.tar", work / "out.dib")
    return work


def run(pyz: Path, home: Path, *arguments: str | Path, python: str = PYTHON, **env: str) -> subprocess.CompletedProcess:
    """Run dib.pyz with its own environment, in a Python without packages."""
    needs.programs(python)
    given = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home), **env}
    command = [python, "-I", "-S", pyz, *arguments]
    return subprocess.run(command, capture_output=True, env=given, timeout=300, check=False)


def cache(home: Path) -> Path:
    (found,) = (home / ".cache" / "dib").iterdir()
    return found


def test_it_applies_with_nothing_but_a_python(pyz: Path, pair: Path, tmp_path: Path):
    wanted = (pair / "b.tar").read_bytes()
    done = run(pyz, tmp_path, "apply", pair / "a.tar", pair / "out.dib")
    assert (done.returncode, done.stderr) == (0, done.stderr)
    assert done.stdout == wanted
    assert stat.S_IMODE((tmp_path / ".cache" / "dib").stat().st_mode) == 0o700
    assert b"rebuilds" in run(pyz, tmp_path, "verify", pair / "out.dib", "--base", pair / "a.tar").stdout
    assert b"app:2" in run(pyz, tmp_path, "inspect", pair / "out.dib").stdout
    assert b"Usage: dib load" in run(pyz, tmp_path, "load", "--help").stdout
    given = (pair / "a.tar", pair / "b.tar")
    told = run(pyz, tmp_path, "create", *given).stderr.decode()
    assert re.search(
        rf"hint: name the bundle to write: \S*python3\S* {pyz} create {given[0]} {given[1]} update.dib", told
    )
    native = subprocess.run(
        [PYTHON, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(cache(tmp_path))!r});"
         "from dibundle.codecs.native import library; import zstandard, msgpack;"
         "print(library.fault(), zstandard.backend, msgpack.Packer.__module__)"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert native.stdout.split() == ["None", "cext", "msgpack._cmsgpack"]


def test_it_creates_at_the_default_level(pyz: Path, pair: Path, tmp_path: Path):
    done = run(pyz, tmp_path, "create", pair / "a.tar", pair / "b.tar", tmp_path / "out.dib")
    assert (done.returncode, done.stdout) == (0, b"")
    assert run(pyz, tmp_path, "apply", pair / "a.tar", tmp_path / "out.dib").stdout == (pair / "b.tar").read_bytes()


def test_a_damaged_cache_is_made_again(pyz: Path, pair: Path, tmp_path: Path):
    assert run(pyz, tmp_path, "--version").returncode == 0
    module = cache(tmp_path) / "dibundle" / "applying" / "pipeline.py"
    library = cache(tmp_path) / "dibundle" / "codecs" / "native" / "dib.so"
    good = module.read_bytes(), library.read_bytes()
    module.write_bytes(good[0][:100])
    library.unlink()
    done = run(pyz, tmp_path, "apply", pair / "a.tar", pair / "out.dib")
    assert done.stdout == (pair / "b.tar").read_bytes()
    assert (module.read_bytes(), library.read_bytes()) == good
    assert [path.name for path in (tmp_path / ".cache" / "dib").iterdir()] == [cache(tmp_path).name]


def test_several_at_once_unpack_it(pyz: Path, pair: Path, tmp_path: Path):
    with ThreadPoolExecutor(6) as executor:
        runs = list(executor.map(lambda _: run(pyz, tmp_path, "verify", pair / "out.dib"), range(6)))
    assert [done.returncode for done in runs] == [0] * 6, [done.stderr for done in runs]
    assert cache(tmp_path).is_dir()


def test_where_it_unpacks(pyz: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    assert run(pyz, home, "--version", XDG_CACHE_HOME=str(tmp_path / "xdg")).returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["xdg"]
    assert list(home.iterdir()) == []
    # if other users may write to the cache folder, the temporary folder is used
    (home / ".cache" / "dib").mkdir(parents=True)
    (home / ".cache" / "dib").chmod(0o755)
    assert run(pyz, home, "--version").returncode == 0
    assert list((home / ".cache" / "dib").iterdir()) == []
    fallback = home / f"dib-{os.geteuid()}"
    assert stat.S_IMODE(fallback.stat().st_mode) == 0o700
    # a symbolic link is not used either, wherever it leads
    shutil.rmtree(fallback)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    fallback.symlink_to(tmp_path / "elsewhere")
    done = run(pyz, home, "--version")
    assert done.returncode == 3
    assert b"XDG_CACHE_HOME" in done.stderr
    assert done.stderr.count(b"\n") == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_sizes_in_the_docs(pyz: Path, tmp_path: Path):
    readme, text = ((ROOT / name).read_text() for name in ("README.md", "docs/how-to/edge.md"))
    whole, unpacked = (int(re.search(words, text)[1]) for words in (r"`dib.pyz` \((\d+) MB\)", r"takes up to (\d+) MB"))
    assert f"file of {whole} MB" in readme
    assert pyz.stat().st_size / 1e6 == pytest.approx(whole, abs=0.5)
    assert run(pyz, tmp_path, "--version").returncode == 0
    subprocess.run([PYTHON, "-m", "compileall", "-q", cache(tmp_path)], check=True)
    size = sum(path.stat().st_size for path in cache(tmp_path).rglob("*") if path.is_file())
    assert unpacked - 2 < size / 1e6 <= unpacked


def test_a_damaged_pyz(pyz: Path, tmp_path: Path):
    with zipfile.ZipFile(pyz) as source, zipfile.ZipFile(tmp_path / "bad.pyz", "w") as target:
        for name in source.namelist():
            target.writestr(name, b"" if name == "common/dibundle/errors.py" else source.read(name))
    done = run(tmp_path / "bad.pyz", tmp_path, "--version")
    assert done.returncode == 3
    assert b"damaged: dibundle/errors.py" in done.stderr
    assert list((tmp_path / ".cache" / "dib").iterdir()) == []


@pytest.mark.parametrize("number", [6, 8, 10])
def test_an_older_python_is_told_what_to_do(pyz: Path, tmp_path: Path, number: int):
    """With an older Python, dib.pyz prints advice. If this machine has no older Python, only main.py is tested."""
    older = shutil.which(f"python3.{number}")
    if older and subprocess.run([older, "-c", ""], capture_output=True, check=False).returncode == 0:
        done = run(pyz, tmp_path, "apply", "a", "b", python=older)
    else:
        code = f"import sys; sys.version_info = (3, {number}, 0); exec(open({str(ROOT / 'pyz' / 'main.py')!r}).read())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert f"this is 3.{number}".encode() in done.stderr
    assert b"spec/decoder" in done.stderr


def test_what_is_in_it(pyz: Path):
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
    assert len({name.split("/")[0] for name in names if "zstandard/backend_c." in name}) == BUILDS
    assert len({name.split("/")[0] for name in names if "msgpack/_cmsgpack." in name}) == BUILDS
    assert sum(name.endswith("/dibundle/codecs/native/dib.so") for name in names) == 4
    assert not [name for name in names if name.endswith((".pyc", ".c"))]
    assert len([name for name in names if "licen" in name.lower()]) >= 4
    assert pyz.stat().st_size < 12_000_000


def test_on_aarch64(pyz: Path, pair: Path, tmp_path: Path):
    """dib.pyz runs on aarch64. The test uses an emulator, and Debian's Python for aarch64 in a folder."""
    needs.programs("qemu-aarch64", "mmdebstrap")
    root = tmp_path / "root"
    command = ["mmdebstrap", "--arch=arm64", "--variant=extract", "--include=base-files,python3", "trixie", root]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("Debian's archive cannot be reached")
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    (python,) = root.glob("usr/bin/python3.[0-9]*")
    emulated = ["qemu-aarch64", "-L", root, python, "-I", "-S", pyz]
    env = {"PATH": os.defpath, "HOME": str(tmp_path)}
    done = subprocess.run(
        [*emulated, "apply", pair / "a.tar", pair / "out.dib"], env=env, capture_output=True, check=False
    )
    assert done.stdout == (pair / "b.tar").read_bytes(), done.stderr
    assert cache(tmp_path).name.endswith("-aarch64-linux-gnu")
