"""The commands in docs/, run page by page, with stand-ins for engines, networks and other machines.

A block's title tells where the block belongs. ``far side`` means the other machine, and a file name means that the
block is saved as this file. A block without a title belongs to this machine.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from dibundle.cli.environment import VARIABLES
from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import edited, noise, text
from tests.sources.conftest import put_image
from tests.sources.server import serve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", *(f"{folder}/**/*.md" for folder in ("bench", "docs", "spec", "tests")))
    for path in ROOT.glob(pattern)
)
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^ *```", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^( *)(?:- )?run: (?:\|\n((?:\1 +.*\n)+)|(.*\n))", re.MULTILINE)

NOT_RUN = {
    "pipx install": "fetches from the network; .ci/run installs dib with pip in a fresh clone",
    "uv tool install": "fetches from the network; .ci/run installs dib with pip in a fresh clone",
    "pip install --require-hashes": "fetches from the network; tests/test_pyz.py builds dib.pyz and runs it",
    "python3 -m venv /opt/dib": "fetches from the network; .ci/run installs dib with pip in a fresh clone",
    "dib mirror": "serves until it is ended; tests/mirror starts mirrors",
    "docker pull 127.0.0.1": "needs a mirror; tests/mirror/test_engines.py pulls by every engine",
    "ctr images pull": "the same",
    "podman pull": "the same",
    "docker exec registry": "needs a registry in a container; tests/sources/test_real_catalog.py collects garbage",
    "sudo install": "writes to /etc; tests/cli/test_policy.py tries such policies",
    "docker build": "needs an engine and a public image; tests/compat/test_dockerfile.py builds what dib writes",
}
"""Blocks that are not run, by their beginning. Each has a reason."""


def read_ini(text: str) -> list[str]:
    """Return the sections that systemd reads from a file."""
    found = configparser.RawConfigParser(strict=False)
    found.read_string(text)
    return found.sections()


SETTINGS: dict[str, Callable[[str], object]] = {"toml": tomllib.loads, "ini": read_ini}
"""Configuration files of other programs, which must be valid."""

COMES_TO = {
    "how-to/air-gap.md": ("far", "app:2"),
    "how-to/container.md": ("near", "app:2"),
    "how-to/edge.md": ("far", "app:3"),
    "how-to/kubernetes.md": ("far", "registry.example/app:2"),
    "how-to/registry.md": ("far", "registry.example/app:2"),
    "how-to/ssh.md": ("far", "app:2"),
    "index.md": ("near", "app:2"),
    "tutorial.md": ("far", "app:2"),
    "how-to/backups.md": ("near", "app:3"),
}
"""The loaded images of each machine at the end."""

STAND_INS = {
    "dib": f'exec {sys.executable} -m dibundle "$@"',
    "python3": f'exec {sys.executable} "$@"',
    "scp": 'for last; do :; done\nfor file; do [ "$file" = "$last" ] || cp "$file" "$FAR"; done',
    "ssh": 'shift; cd "$FAR" && MACHINE=$FAR exec sh -c "$*"',
    "git": 'case "$*" in "describe --tags --abbrev=0 2^") echo 1;; *) exit 9;; esac',
    "gh": (
        'case "$1 $2" in "release view") [ -e published ];; "release create") mkdir published;;'
        ' "release upload") shift 3 && cp "$@" published;; *) exit 9;; esac'
    ),
    "pipx": '[ "$1" = install ]',
    **{name: f'exec {sys.executable} {ROOT}/tests/stand_in.py {name} "$@"' for name in ("docker", "podman", "ctr")},
}


@dataclass
class Machines:
    """Two folders. Each folder is a machine with a container engine."""

    near: Path
    far: Path
    host: str

    def paste(self, block: str, folder: Path, **more: str) -> None:
        """Run a block in a shell that stops at errors."""
        for name, here in (
            ("docker://registry.example", f"docker://{self.host}"),
            ("/media/stick", f"{self.near}/stick"),
            ("/media/trusted", f"{self.near}/trusted"),
        ):
            block = block.replace(name, here)
        # smaller parts, so that the pattern matches several parts
        block = block.replace("--split 3900M", "--split 64K")
        path = f"{self.near}/bin:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "FAR": str(self.far), "MACHINE": str(folder), "HOME": str(folder), **more}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=env, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout.decode(errors='replace')[-2000:]}{done.stderr.decode()}"


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far, near / "bin", near / "stick", near / "trusted", near / "engine", far / "engine"):
        folder.mkdir()
    for name, script in STAND_INS.items():
        program = near / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (near / "dib.pyz").write_text("import runpy\nrunpy.run_module('dibundle', run_name='__main__', alter_sys=True)\n")
    with serve() as registry:
        for number in (1, 2, 3):
            words = edited(text(1, 200_000), number)
            added = noise(number, 150_000)
            layers = [
                build_layer([file("data", noise(9, 300_000))]),
                build_layer([file("app", words), file("new", added)]),
            ]
            for name, tag in ((f"app:{number}", "app"), (f"registry.example/app:{number}", "registry.example%2Fapp")):
                archive = near / "engine" / f"{tag}%3A{number}"
                archive.write_bytes(docker_save([TestImage(layers, [name])], "v25"))
                if number == 1:
                    (far / "engine" / archive.name).write_bytes(archive.read_bytes())
            stored = tmp_path / "stored.tar"
            stored.write_bytes(docker_save([TestImage(layers, [f"app:{number}"])], "oci", "gzip"))
            put_image(registry, stored, str(number), "app")
        yield Machines(near, far, registry.host)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Return the kind, title and text of a page's blocks."""
    return BLOCK.findall((DOCS / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_run(page: str):
    found = blocks(page)
    assert len(FENCE.findall((DOCS / page).read_text())) == 2 * len(found)
    assert {kind for kind, _, _ in found} <= {"sh", "yaml", "py", *SETTINGS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_link_is_dead(document: str):
    text = re.sub("`[^`\n]+`", "", FENCED.sub("", (ROOT / document).read_text()))
    links = [link for link in LINK.findall(text) if not re.match("[a-z]+:", link)]
    assert [link for link in links if not leads_somewhere(ROOT / document, link)] == []


def leads_somewhere(document: Path, link: str) -> bool:
    """Return whether a relative link leads to an existing file and, if the link names a heading, to an existing
    heading.
    """
    path, _, anchor = unquote(link).partition("#")
    found = (document.parent / path).resolve() if path else document
    if not found.exists():
        return False
    headings = HEADING.findall(FENCED.sub("", found.read_text())) if anchor else []
    return not anchor or anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_what_is_not_run_is_there():
    commands = [text for page in PAGES for _, _, text in blocks(page)]
    assert [begin for begin in NOT_RUN if not any(text.startswith(begin) for text in commands)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
@pytest.mark.slow
def test_a_page(page: str, machines: Machines):
    needs.programs("ssh-keygen")
    loaded, name = COMES_TO.get(page, ("", ""))
    if page == "how-to/registry.md":
        name = name.replace("registry.example", machines.host)
    wanted = getattr(machines, loaded) / "engine" / quote(name, safe="") if loaded else None
    if wanted and loaded == "near":
        forget(wanted, machines)
    for kind, title, block in blocks(page):
        if block.startswith(tuple(NOT_RUN)):
            continue
        if kind == "yaml":
            workflow(block, machines)
        elif kind in SETTINGS:
            assert SETTINGS[kind](block)
        elif title and title != "far side":
            (machines.near / title).write_text(block)
        else:
            machines.paste(block, machines.far if title else machines.near)
    assert wanted is None or wanted.exists()


def forget(image: Path, machines: Machines) -> None:
    """Move an image, so that the engine can still save it, but no longer counts it as loaded.

    So the test can see whether the image is loaded later.
    """
    docker = machines.near / "bin" / "docker"
    kept = image.rename(machines.near / "kept.tar")
    name = unquote(image.name)
    script = docker.read_text().splitlines()[1]
    docker.write_text(
        f"#!/bin/sh\ncase \"$*\" in 'save -o '*' {name}') cp {shlex.quote(str(kept))} \"$3\";; *) {script};; esac\n"
    )


def workflow(text: str, machines: Machines) -> None:
    """Run the steps of a job."""
    steps = [textwrap.dedent(several) or one for _, several, one in RUN.findall(text)]
    assert len(steps) == text.count("run:")
    for step in steps:
        machines.paste(step, machines.near, GITHUB_REF_NAME="2", IMAGE="registry.example/app")
    assert {path.name for path in (machines.near / "published").iterdir()} > {"1-2.dib", "1-2.dib.json"}


def test_the_functions(machines: Machines):
    machines.paste("docker save -o old.tar app:1; docker save -o new.tar app:2", machines.near)
    machines.paste(f"python3 {shlex.quote(str(DOCS / 'example.py'))}", machines.near)
    assert (machines.near / "again.tar").read_bytes() == (machines.near / "new.tar").read_bytes()
    machines.paste(f"python3 {shlex.quote(str(DOCS / 'processes.py'))}", machines.near)
    assert (machines.near / "spawned.dib").read_bytes() == (machines.near / "update.dib").read_bytes()


def test_the_site_is_built_without_a_warning(tmp_path: Path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("not installed: mkdocs-material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yaml = importlib.import_module("yaml")  # a dependency of mkdocs
    assert [
        len(yaml.safe_load(text)["jobs"]) for page in PAGES for kind, _, text in blocks(page) if kind == "yaml"
    ] == [1]
    shown = (tmp_path / "reference" / "commands.html").read_text()
    assert 'id="dib-create"' in shown
    assert "--split" in shown
    assert "__name__" in (tmp_path / "reference" / "python.html").read_text()
    fetches = re.compile(r"<(link|script|img)[^>]+\"https?://")
    assert [path for path in tmp_path.rglob("*.html") if fetches.search(path.read_text())] == []


def test_every_variable_that_is_read_is_listed():
    source = "\n".join(path.read_text() for path in (*(ROOT / "dibundle").rglob("*.py"), ROOT / "pyz" / "main.py"))
    read = set(re.findall(r"""(?:environ|environment)(?:\.get\(|\[)"([A-Z_]+)"|envvar="([A-Z_]+)\"""", source))
    assert {name for pair in read for name in pair if name} - {"CC"} == {name for name, _ in VARIABLES}
