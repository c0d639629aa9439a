"""The page that ``dib report`` writes. Its content is right, names stay plain text, and the page works in a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import sqlite3
import struct
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dibundle.images.packages import changed, inventory
from dibundle.inspecting.operations import Line
from dibundle.inspecting.page import Page, build
from tests import needs
from tests.builders import TestImage, build_layer, docker_save, file, symlink
from tests.content import noise, text
from tests.program import dib, succeed

HOSTILE = {
    "app/<script>alert(1)</script>": r"app/<script>alert(1)</script>",
    "app/</title><img src=x onerror=alert(2)>": r"app/</title><img src=x onerror=alert(2)>",
    "app/\x1b]0;owned\x07": r"app/\x1b]0;owned\x07",
    "app/\u202egpj.exe": r"app/\u202egpj.exe",
    "app/&amp;'\"$policy`": "app/&amp;'\"$policy`",
}
"""Hostile names, and the text that the page must show."""
EVIL = "</script><script>alert(3)</script>"


def status(**versions: str) -> bytes:
    return "\n\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDescription: x\n y"
        for name, version in versions.items()
    ).encode()


@pytest.mark.parametrize("style", ["v25", "c8d"])
def test_what_lies_in_a_layer_that_stays_is_not_listed_as_deleted(tmp_path: Path, style: str) -> None:
    below = build_layer([file("lib/same", noise(1, 60_000)), file("lib/other", noise(2, 60_000))])
    for number in (1, 2):
        names = ["app/both", f"app/only{number}", *(["app/gone"] if number == 1 else [])]
        layer = build_layer([file(name, text(number, 5000), mtime=number) for name in names])
        made = docker_save([TestImage([below, layer], [f"example.com/a:{number}"])], style, "gzip")
        (tmp_path / f"{number}.tar").write_bytes(made)
    succeed("create", tmp_path / "1.tar", tmp_path / "2.tar", tmp_path / "out.dib", "--names", "all")
    listed = json.loads(succeed("inspect", "--list", "--op", "delete", "--json", tmp_path / "out.dib").out)
    assert [line["path"] for line in listed["operations"]] == ["app/gone", "app/only1"]


def image(number: int) -> TestImage:
    layers = [
        build_layer(
            [
                file("var/lib/dpkg/status", status(libc6=f"2.{number}", zlib1g="1.3")),
                file("usr/lib/same", noise(1, 60_000)),
                file("usr/lib/libold.so.1" if number == 1 else "usr/lib/libnew.so.2", noise(number, 30_000)),
            ]
        ),
        build_layer(
            [
                file("app/main.py", text(3, 40_000) + b"# %d\n" % number),
                file("app/lib/Flask.dist-info/METADATA", b"Name: Flask_X\nVersion: 3.%d\n\nText" % number),
                *([file(name, noise(4, 900)) for name in HOSTILE] if number == 2 else ()),
                file("app/node_modules/evil/package.json", json.dumps({"name": EVIL, "version": "1"}).encode()),
            ]
            if number == 2
            else [file("app/main.py", text(3, 40_000)), file("app/node_modules/a/package.json", b"[]")]
        ),
    ]
    environment = ["A=1"] if number == 1 else ["A=2", f"B={EVIL}"]
    return TestImage(layers, [f"example.com/app:{number}"], {"config": {"Env": environment}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("report")
    for number, name in ((1, "a"), (2, "b")):
        (work / f"{name}.tar").write_bytes(docker_save([image(number)], "oci", "gzip"))
    succeed("create", work / "a.tar", work / "b.tar", work / "out.dib")
    succeed("report", work / "out.dib", "--base", work / "a.tar", "-o", work / "out.html")
    return work


def told(page: str) -> dict[str, Any]:
    """Return the data that dib passes to the page's script."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def shown(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table that follows a heading."""
    table = page[page.index(f">{heading}") :].partition("</table>")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", table)
    return [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]


def test_it_tells_what_inspect_and_diff_tell(folder: Path):
    page = (folder / "out.html").read_text()
    data = told(page)
    listed = json.loads(succeed("inspect", folder / "out.dib", "--list", "--json", "--base", folder / "a.tar").out)
    wanted = [item for item in listed["operations"] if item["operation"] not in ("keep", "member")]
    assert [data["operations"][number] for number in data["op"]] == [item["operation"] for item in wanted]
    assert data["stored"] == [item["stored"] for item in wanted]
    assert data["size"] == [item.get("size") for item in wanted]
    assert "usr/lib/libnew.so.2" in data["path"]
    assert "usr/lib/libold.so.1" in data["path"], "what is gone is told too"
    assert "usr/lib/same" not in data["path"]
    assert sum(data["stored"]) + data["rest"][0][1] == (folder / "out.dib").stat().st_size
    different = json.loads(succeed("diff", folder / "a.tar", folder / "b.tar", "--json").out)
    packages = {(item["manager"], item["name"]): (item["old"], item["new"]) for item in different["packages"]}
    assert packages[("dpkg", "libc6")] == ("2.1", "2.2")
    assert packages[("pip", "flask-x")] == (None, "3.2")
    assert ("dpkg", "zlib1g") not in packages
    assert {(row[0], row[1]) for row in shown(page, "Packages")} == set(packages)
    assert ["dpkg", "libc6", "2.1", "2.2"] in shown(page, "Packages")
    assert ["Env.A", '"1"', '"2"'] in shown(page, "Config")


def test_without_a_base(folder: Path, tmp_path: Path):
    ended = succeed("report", folder / "out.dib")
    page = ended.out.decode()
    assert "app/main.py" in told(page)["path"]
    assert "Give --base" in page
    assert "stdout" in ended.err or "-:" in ended.err
    with (folder / "out.dib").open("rb") as stream:
        piped = succeed("report", "-", "--base", folder / "a.tar", "-o", "-", stdin=stream).out.decode()
    assert piped.replace("stdin:", "out.dib:") == (folder / "out.html").read_text()


def test_the_same_page_each_time(folder: Path, tmp_path: Path):
    env = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    succeed("report", folder / "out.dib", "--base", folder / "a.tar", "-o", tmp_path / "out.html", env=env)
    assert (tmp_path / "out.html").read_bytes() == (folder / "out.html").read_bytes()


def test_the_policy_lets_only_its_own_style_and_script_run(folder: Path):
    page = (folder / "out.html").read_text()
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{hashes[0]}'",
        "script-src": f"'sha256-{hashes[1]}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.findall(r"(?i)https?:|url\(|@import|\bsrc=|innerHTML|outerHTML|insertAdjacent|eval\(", style + script)
    assert not re.findall(r"<[^>]*\s(?:style|on\w+|src)=", page.replace(script, "").replace(told_text(page), ""))


def told_text(page: str) -> str:
    return page[page.index('id="data">') : page.index("</script>", page.index('id="data">'))]


def test_names_are_text_and_nothing_else(folder: Path):
    page = (folder / "out.html").read_text()
    assert set(HOSTILE.values()) <= set(told(page)["path"])
    assert [character for character in page if ord(character) < 32 and character != "\n"] == []
    assert "\u202e" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert page.count("<title>") == page.count("</title>") == 1
    assert "<img" not in page
    assert ["Env.B", "none", json.dumps(EVIL)] in shown(page, "Config")
    assert ["npm", EVIL, "none", "1"] in shown(page, "Packages")


def test_a_hostile_name_of_the_bundle(folder: Path, tmp_path: Path):
    evil = tmp_path / "<img src=x>\x1b[2J.dib"
    evil.write_bytes((folder / "out.dib").read_bytes())
    page = succeed("report", evil).out.decode()
    assert "<title>&lt;img src=x&gt;\\x1b[2J.dib: what is in this bundle</title>" in page


def test_it_is_never_one_of_its_inputs(folder: Path):
    before = (folder / "out.dib").read_bytes()
    assert dib("report", folder / "out.dib", "-o", folder / "out.dib").code == 2
    assert (folder / "out.dib").read_bytes() == before
    assert dib("report", folder / "out.dib", "--json").code == 2


def browse(page: Path, tmp_path: Path, *options: str, state: str = "") -> str:
    needs.programs("chromium")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", *(options or ("--dump-dom",)), page.as_uri() + state]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()


def rows(dom: str) -> list[str]:
    """Return the paths in the table rows that the browser shows."""
    return [html.unescape(found) for found in re.findall(r'<td class="path" title="(.*?)">', dom)]


def test_in_a_browser(folder: Path, tmp_path: Path):
    page = folder / "out.html"
    data = told(page.read_text())
    dom = browse(page, tmp_path)
    order = sorted(range(len(data["path"])), key=lambda number: -data["stored"][number])
    assert rows(dom) == [data["path"][number] for number in order]
    assert 'aria-label="usr/lib' in dom, "the map is there"
    assert not re.search("<(script|img)[^>]*alert", dom)
    dom = browse(page, tmp_path, state="#q=ALERT+app&sort=path&order=asc")
    assert rows(dom) == sorted(name for name in HOSTILE.values() if "alert" in name)
    assert f"2 of {len(data['path'])}" in dom
    assert 'aria-sort="ascending"' in dom
    assert rows(browse(page, tmp_path, state="#op=delete&by=layer")) == [
        "app/node_modules/a/package.json",
        "usr/lib/libold.so.1",
    ]
    dom = browse(page, tmp_path, state=f"#by=type&at={quote('.py')}")
    assert 'aria-current="true">.py<' in dom


def test_a_long_list_in_a_browser(tmp_path: Path):
    """In a list of 20,000 paths, only the visible paths become table rows."""
    lines = [
        Line(operation="patch", path=b"usr/lib/%d/%d/file%d.so" % (n % 17, n % 113, n), size=n * 7, stored=n % 1000)
        for n in range(20_000)
    ]
    page = tmp_path / "long.html"
    page.write_bytes(b"".join(build(Page(title="long", facts=[], stored=20_000_000, kinds=[], lines=lines))))
    assert page.stat().st_size < 2_000_000
    dom = browse(page, tmp_path, state="#q=file19999")
    assert rows(dom) == ["usr/lib/7/111/file19999.so"]
    dom = browse(page, tmp_path)
    assert "20,000 of 20,000" in dom
    assert 20 < len(rows(dom)) < 100
    assert dom.count("<button") < 3_000
    printed = tmp_path / "long.pdf"
    browse(page, tmp_path, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")


def packages_of(path: str, content: bytes) -> dict[tuple[str, str], set[str]]:
    return {key: set(value) for key, value in inventory([path.encode()], lambda _: content).items()}


def rpm_header(**fields: str) -> bytes:
    tags = {"name": 1000, "version": 1001, "release": 1002}
    entries, data = b"", b""
    for key, value in fields.items():
        entries += struct.pack(">IIII", tags[key], 6, len(data), 1)
        data += value.encode() + b"\0"
    entries += struct.pack(">IIII", 1003, 4, len(data), 1)
    data += struct.pack(">I", 2)
    return struct.pack(">II", len(fields) + 1, len(data)) + entries + data


def test_packages(tmp_path: Path):
    gone = b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    assert packages_of("var/lib/dpkg/status", gone + status(libc6="2.36-9")) == {("dpkg", "libc6"): {"2.36-9"}}
    assert packages_of("var/lib/dpkg/status.d/tzdata", b"Package: tzdata\nVersion: 1\n") == {("dpkg", "tzdata"): {"1"}}
    assert packages_of("lib/apk/db/installed", b"C:Q1\nP:musl\nV:1.2.5-r0\nA:x\n\nP:a\nV:2\n\n") == {
        ("apk", "musl"): {"1.2.5-r0"},
        ("apk", "a"): {"2"},
    }
    path = tmp_path / "rpmdb.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    header = rpm_header(name="bash", version="5.2", release="1.fc40")
    database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,), (b"\0\0\xff\xff",), (b"",)])
    database.commit()
    database.close()
    content = path.read_bytes()
    assert packages_of("var/lib/rpm/rpmdb.sqlite", content) == {("rpm", "bash"): {"2:5.2-1.fc40"}}
    for damaged in (b"", content[:5000], content[:100] + bytes(4000), b"no database"):
        assert packages_of("usr/lib/sysimage/rpm/rpmdb.sqlite", damaged) == {}
    assert packages_of("a/node_modules/@s/n/package.json", b'{"name": "@s/n", "version": "1.0"}') == {
        ("npm", "@s/n"): {"1.0"}
    }
    for ignored in ("a/node_modules/n/lib/package.json", "package.json", "node_modules/package.json"):
        assert packages_of(ignored, b'{"name": "n", "version": "1.0"}') == {}
    for damaged in (b"", b"[]", b"[" * 100_000, b"\xff", b'{"name": 1, "version": null}'):
        assert packages_of("node_modules/n/package.json", damaged) == {}
    found = changed({("npm", "a"): ["2", "1"], ("pip", "b"): ["1"]}, {("npm", "a"): ["1"], ("pip", "b"): ["1"]})
    assert [(item.name, item.old, item.new) for item in found] == [("a", "1, 2", "1")]


def test_symbolic_links_are_listed_with_where_they_lead(tmp_path: Path) -> None:
    layers = {
        "old": [file("app/x", b"x" * 3000), symlink("app/now", "v1"), file("app/other", b""), symlink("same", "x")],
        "new": [file("app/x", b"x" * 3000), symlink("app/now", "v2"), symlink("app/other", "x"), symlink("same", "x")],
    }
    for name, items in layers.items():
        more = [file("last", b"1"), symlink("newest", "\x1b[31m")] if name == "new" else []
        (tmp_path / f"{name}.tar").write_bytes(docker_save([TestImage([build_layer([*items, *more])])]))
    old, new, bundle = (tmp_path / name for name in ("old.tar", "new.tar", "out.dib"))
    succeed("create", old, new, bundle)
    lines = ("app/now -> v2 (was v1)", "app/other -> x", r"newest -> \x1b[31m")
    for words in (("diff", "--list", old, new), ("inspect", "--list", bundle, "--base", old)):
        told = dib(*words).out.decode().splitlines()
        for line in lines:
            assert [text for text in told if text.startswith("symlink") and text.endswith("  " + line)], line
        assert not any("same ->" in text for text in told)
    # dib lists this symlink even without a base, because the symlink was added
    assert b"newest -> " in dib("inspect", "--list", bundle).out
    found = json.loads(dib("diff", "--json", "--list", old, new).out)["operations"]
    assert [(line["target"], line.get("old_target")) for line in found if line["path"] == "app/now"] == [("v2", "v1")]
