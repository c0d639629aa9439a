"""Select random pairs of releases in package registries; write each as two docker save archives.

    python bench/draw.py OUT --seed 1 [--kinds pypi-x86_64=3,npm=2] [--names FILE] [--previous bookworm]

The seed determines the order in which names are tried. A name is skipped if there are no two consecutive releases for
the platform. It is also skipped if a release unpacks to less than 3 MB or more than 120 MB. Selected names, and skipped
names with reasons, are printed and written to OUT/drawn.json. The same seed and the same state of the registries give
the same archives. The script needs pip, npm and, on Debian, apt and dpkg-deb. The configuration of these programs
selects the registries.
"""

from __future__ import annotations

import argparse
import calendar
import hashlib
import json
import platform
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

SMALLEST, LARGEST = 3_000_000, 120_000_000  # minimum and maximum bytes of files in each release
TRIES = 25  # maximum number of names to look up for a kind, to spare the registries
KINDS = "pypi-x86_64=3,pypi-aarch64=2,npm=3,updates-amd64=2,updates-arm64=2,release-amd64=1,release-arm64=1"
NAMES = Path(__file__).with_name("names.txt")

Entry = tuple[tarfile.TarInfo, bytes]
Finder = Callable[[Path], "Pair"]  # a function that gets the working folder


class PassedOverError(Exception):
    """The exception for a name that is skipped; the text is the reason."""


@dataclass(frozen=True)
class Drawn:
    """A selected pair, or a skipped name with the reason (``why``)."""

    kind: str
    name: str
    old: str = ""
    new: str = ""
    sizes: tuple[int, int] = (0, 0)
    why: str = ""


@dataclass(frozen=True)
class Pair:
    """Two releases of a package: their versions, and a function that returns the files of one release."""

    old: str
    new: str
    files: Callable[[str], list[Entry]]


def text(*command: str | Path) -> str:
    """Return the output of a command; raise :class:`PassedOverError` if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PassedOverError((done.stderr.strip().splitlines() or ["no answer"])[-1][:160])
    return done.stdout


def checked(size: int) -> int:
    """Return the size; raise :class:`PassedOverError` if the size is out of bounds."""
    if not SMALLEST <= size <= LARGEST:
        raise PassedOverError(f"{size / 1e6:.1f} MB")
    return size


def ask_size(url: str) -> None:
    """Skip a file before it is fetched, if its size is certainly out of bounds."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
        packed = int(answer.headers["Content-Length"])
    if not SMALLEST / 10 <= packed <= LARGEST:
        raise PassedOverError(f"{packed / 1e6:.1f} MB packed")


def entry(name: str, data: bytes, mode: int, mtime: int) -> Entry:
    """Return a file's entry in a layer."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, mtime
    return info, data


# PyPI: the wheels that pip chooses for a platform


def pypi(machine: str, name: str, work: Path) -> Pair:
    """Return the two newest releases with a wheel; for aarch64, the wheel must be specific to aarch64."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wanted = ["--only-binary=:all:", "--implementation=cp"]
    wanted += [f"--platform={p}_{machine}" for p in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")]
    listed = text(*pip, "index", "versions", name, *wanted)
    versions = listed.partition("versions:")[2].partition("\n")[0].replace(",", " ").split()
    if len(versions) < 2:
        raise PassedOverError("no two releases")

    def files(version: str) -> list[Entry]:
        exact = [*wanted, "--no-deps", f"{name}=={version}"]
        told = text(*pip, "install", "-q", "--dry-run", "--report=-", "-I", f"--target={work}", *exact)
        url = json.loads(told)["install"][0]["download_info"]["url"]
        if machine == "aarch64" and url.endswith("-any.whl"):
            raise PassedOverError("the same for every platform")
        ask_size(url)
        text(*pip, "download", f"--dest={work / version}", *exact)
        with zipfile.ZipFile(next((work / version).glob("*.whl"))) as wheel:
            return [_installed(wheel, info) for info in wheel.infolist() if not info.is_dir()]

    return Pair(versions[1], versions[0], files)


def _installed(wheel: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    """Return a wheel's file at the path where pip installs it."""
    top, _, rest = info.filename.partition("/")
    place = "usr/local/lib/python3/site-packages/" + info.filename
    if top.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        folder = {"scripts": "bin/", "data": "", "headers": "include/"}.get(scheme, "lib/python3/site-packages/")
        place = "usr/local/" + folder + rest
    mode = info.external_attr >> 16 & 0o777 or 0o644
    return entry(place, wheel.read(info), mode, calendar.timegm(info.date_time))


# npm


def npm(name: str, work: Path) -> Pair:
    """Return the two releases with the highest version numbers."""
    releases = json.loads(text("npm", "view", name, "versions", "--json"))
    numbered = [r for r in releases if "-" not in r] if isinstance(releases, list) else []
    if len(numbered) < 2:
        raise PassedOverError("no two releases")
    numbered.sort(key=lambda release: [int(part) for part in release.partition("+")[0].split(".")])

    def files(version: str) -> list[Entry]:
        spec = f"{name}@{version}"
        ask_size(text("npm", "view", spec, "dist.tarball").strip())
        packed = json.loads(text("npm", "pack", spec, "--json", "--silent", f"--pack-destination={work}"))
        found = []
        with tarfile.open(work / packed[0]["filename"].replace("@", "").replace("/", "-")) as tar:
            for info in tar:
                stream = tar.extractfile(info)
                if stream:
                    inner = info.name.partition("/")[2]
                    place = f"usr/local/lib/node_modules/{name}/{inner}"
                    found.append(entry(place, stream.read(), info.mode & 0o777, int(info.mtime)))
        return found

    return Pair(numbered[-2], numbered[-1], files)


# Debian: the same package in two suites


@dataclass(frozen=True)
class Binary:
    """A package of a suite."""

    name: str
    source: str
    version: str
    size: int


class Debian:
    """A configuration of apt with its own package lists: two releases with updates, for two architectures."""

    def __init__(self, root: Path, previous: str) -> None:
        self.current = platform.freedesktop_os_release()["VERSION_CODENAME"]
        self.previous = previous
        lines = []
        form = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)"
        for known in sorted(set(text("apt-get", "indextargets", "--format", form, "Created-By: Packages").split("\n"))):
            uri, suite, *rest = known.split() or ("", "")
            if suite.startswith(self.current):
                signed = f"[signed-by={rest[1]}] " if len(rest) > 1 else ""
                lines += [f"deb {signed}{uri} {suite} {rest[0]}"]
                lines += [f"deb {signed}{uri} {previous} {rest[0]}"] if suite == self.current else []
        for folder in ("lists/partial", "archives/partial"):
            (root / folder).mkdir(parents=True)
        (root / "sources.list").write_text("\n".join(lines) + "\n")
        (root / "status").touch()
        settings = {
            "Dir::State": root, "Dir::State::status": root / "status", "Dir::Cache": root,
            "Dir::Etc::SourceList": root / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architectures": "amd64,arm64", "APT::Sandbox::User": "root", "Acquire::Languages": "none",
        }  # fmt: skip
        self.apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in settings.items())]
        text(*self.apt, "update")

    def suites(self, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the suites of the old and the new package: two releases of Debian, or one release and its updates."""
        if what == "release":
            return (self.previous,), (self.current,)
        return (self.current,), (f"{self.current}-updates", f"{self.current}-security")

    def packages(self, suites: tuple[str, ...], machine: str) -> dict[str, Binary]:
        """Return a suite's packages by name, for one architecture."""
        found = {}
        form = "$(RELEASE) $(ARCHITECTURE) $(FILENAME)"
        for known in sorted(text(*self.apt, "indextargets", "--format", form, "Created-By: Packages").splitlines()):
            suite, architecture, path = known.split()
            if suite in suites and architecture == machine:
                for stanza in text("/usr/lib/apt/apt-helper", "cat-file", path).split("\n\n"):
                    got = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
                    if got and (machine == "amd64" or got["Architecture"] == machine):
                        size = int(got.get("Installed-Size", "0")) * 1024
                        source = got.get("Source", got["Package"]).split()[0]
                        found[got["Package"]] = Binary(got["Package"], source, got["Version"], size)
        return found

    def draw(self, what: str, machine: str, source: random.Random) -> Iterator[tuple[str, Finder]]:
        """Yield one binary package for each source package, in random order."""
        old, new = (self.packages(names, machine) for names in self.suites(what))
        groups: dict[str, list[str]] = {}
        for name in sorted(old.keys() & new.keys()):
            sizes = old[name].size, new[name].size
            if old[name].version != new[name].version and all(SMALLEST <= size <= LARGEST for size in sizes):
                groups.setdefault(new[name].source, []).append(name)
        for group in source.sample(sorted(groups), len(groups)):
            name = source.choice(groups[group])
            yield name, partial(self.pair, old[name], new[name], machine)

    def pair(self, old: Binary, new: Binary, machine: str, work: Path) -> Pair:
        """Return two versions of a package; the second version must be newer."""
        if subprocess.run(["dpkg", "--compare-versions", old.version, "lt", new.version], check=False).returncode:
            raise PassedOverError("no newer version")

        def files(version: str) -> list[Entry]:
            folder = work / version.replace(":", "_")
            folder.mkdir()
            done = subprocess.run(
                [*self.apt, "download", f"{new.name}:{machine}={version}"], cwd=folder, capture_output=True, check=False
            )
            if done.returncode:
                raise PassedOverError("not to be had any more")
            listing = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", next(folder.glob("*.deb"))], capture_output=True, check=True
            )
            with tarfile.open(fileobj=BytesIO(listing.stdout)) as tar:
                found = []
                for info in tar.getmembers():
                    stream = tar.extractfile(info) if info.isreg() else None
                    info.name = info.name.removeprefix("./").rstrip("/")
                    if info.islnk():
                        info.linkname = info.linkname.removeprefix("./")
                    if info.name not in ("", "."):
                        found.append((info, stream.read() if stream else b""))
                return found

        return Pair(old.version, new.version, files)


# Archives


def write_archive(path: Path, entries: Iterable[Entry], tag: str) -> int:
    """Write an archive of one layer in the form of docker save; return the sum of its files' sizes in bytes."""
    files = sorted(entries, key=lambda item: item[0].name)
    known = {info.name for info, _ in files}
    folders = {str(up) for name in known for up in PurePosixPath(name).parents} - known - {"."}
    newest = max(int(info.mtime) for info, _ in files)
    for name in folders:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, newest
        files.append((info, b""))
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in sorted(files, key=lambda item: item[0].name):
            info.pax_headers, info.mtime = {}, int(info.mtime)
            tar.addfile(info, BytesIO(data))
    digest = hashlib.sha256(layer.getbuffer()).hexdigest()
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    image = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{image}.json", "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in (
            (f"{digest}/layer.tar", layer.getvalue()),
            (f"{image}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            tar.addfile(*((one := entry(name, data, 0o644, 0))[0], BytesIO(one[1])))
    return sum(len(data) for _, data in files)


def main() -> None:
    """Select and write the requested number of pairs of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--names", type=Path, default=NAMES)
    parser.add_argument("--previous", default="bookworm", help="Debian's release before this machine's")
    arguments = parser.parse_args()
    lines = [line.split() for line in arguments.names.read_text().splitlines() if not line.startswith("#")]
    log: list[Drawn] = []
    with tempfile.TemporaryDirectory(prefix="draw-") as work:
        debian: Debian | None = None
        for kind, wanted in (part.split("=") for part in arguments.kinds.split(",")):
            registry, _, machine = kind.partition("-")
            source = random.Random(f"{arguments.seed}/{kind}")
            if registry in ("updates", "release"):
                debian = debian or Debian(Path(work, "apt"), arguments.previous)
                offered: Iterable[tuple[str, Finder]] = debian.draw(registry, machine, source)
            else:
                names = sorted(line[1] for line in lines if line[0] == registry)
                find = partial(pypi, machine) if registry == "pypi" else npm
                offered = [(name, partial(find, name)) for name in source.sample(names, len(names))]
            log += draw(kind, int(wanted), offered, arguments.out, Path(work))
    (arguments.out / "drawn.json").write_text(json.dumps([asdict(drawn) for drawn in log], indent=1) + "\n")


def draw(kind: str, wanted: int, offered: Iterable[tuple[str, Finder]], out: Path, work: Path) -> Iterator[Drawn]:
    """Yield the first ``wanted`` pairs of a kind that have an allowed size, and the skipped names."""
    for tried, (name, find) in enumerate(offered):
        if not wanted or tried == TRIES:
            return
        folder = out / f"{kind}-{name.replace('@', '').replace('/', '-')}"
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            try:
                pair = find(Path(scratch))
                sizes = [0, 0]
                for k, (archive, version) in enumerate((("a", pair.old), ("b", pair.new))):
                    entries = pair.files(version)
                    checked(sum(info.size for info, _ in entries))
                    sizes[k] = write_archive(folder / f"{archive}.tar", entries, f"{folder.name.lower()}:{archive}")
                drawn = Drawn(kind, name, pair.old, pair.new, (sizes[0], sizes[1]))
                wanted -= 1
            except PassedOverError as why:
                shutil.rmtree(folder, ignore_errors=True)
                drawn = Drawn(kind, name, why=str(why))
        print(kind, name, f"passed over: {drawn.why}" if drawn.why else f"{drawn.old} -> {drawn.new}", flush=True)
        yield drawn


if __name__ == "__main__":
    main()
