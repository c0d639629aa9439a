"""The outputs of bench/: reproducible archives that dib accepts, and a report from stored results."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dibundle.cli.main import main

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import chart
import draw
import encoders
import growth
import report


def _round_trip(folder: Path) -> None:
    base, target, bundle, result = (folder / name for name in ("a.tar", "b.tar", "out.dib", "result.tar"))
    main(["create", "-q", str(base), str(target), str(bundle)], standalone_mode=False)
    main(["apply", "-q", str(base), str(bundle), "-o", str(result)], standalone_mode=False)
    assert result.read_bytes() == target.read_bytes()


def test_grown_images_are_archives_that_dib_takes(tmp_path: Path) -> None:
    for name, release in (("a", 0), ("b", 1)):
        growth.write_image(tmp_path / f"{name}.tar", 3 << 20, 500, release=release)
        with tarfile.open(tmp_path / f"{name}.tar") as tar, tarfile.open(fileobj=tar.extractfile("layer.tar")) as layer:
            assert len(layer.getmembers()) == 500
    _round_trip(tmp_path)


def test_drawn_archives_are_the_same_each_time(tmp_path: Path) -> None:
    entries = [draw.entry(f"usr/lib/x/{k}", bytes([k]) * 5000, 0o644, 1000 + k) for k in range(9)]
    for name, given in (("a", entries[1:]), ("b", entries), ("again", entries[::-1])):
        draw.write_archive(tmp_path / f"{name}.tar", given, "x:1")
    assert (tmp_path / "b.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    _round_trip(tmp_path)


def test_sizes_out_of_bounds_are_passed_over() -> None:
    with pytest.raises(draw.PassedOverError, match=r"2\.0 MB"):
        draw.checked(2_000_000)


def test_drawing_stops_at_what_was_wanted_and_tells_what_it_passed_over(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    fits = [draw.entry("x", bytes(draw.SMALLEST), 0o644, 0)]

    def none(_: Path) -> draw.Pair:
        raise draw.PassedOverError("no two releases")

    def some(_: Path) -> draw.Pair:
        return draw.Pair("1", "2", lambda _: fits)

    offered = [("a", none), ("b", some), ("@c/d", some), ("e", some)]
    drawn = list(draw.draw("npm", 2, offered, tmp_path, tmp_path / "work"))
    assert [(one.name, one.why) for one in drawn] == [("a", "no two releases"), ("b", ""), ("@c/d", "")]
    assert (tmp_path / "npm-c-d" / "b.tar").exists()


def test_exponent_of_a_power() -> None:
    assert report.exponent([(x, 3 * x**1.5) for x in (1, 2, 8)]) == pytest.approx(1.5)


def test_report_is_made_of_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(report, "KEPT", tmp_path / "results")
    monkeypatch.setattr(report, "about", lambda: "today")
    run = {"wall": 1.0, "cpu": 1.0, "memory": 1.0}
    row = {"pair": "p", "tool": "dib", "target": 9, "size": 1, "create": run, "apply": run, "exact": True}
    for part in ("corpus", "drawn"):
        report.keep(part, [row, {**row, "tool": report.PEER, "size": 2}], identity=("pair", "tool"))
        report.keep(part, [{**row, "size": 1}], identity=("pair", "tool"))
    step = {"bundle": 1, "create": run, "apply": run, "other": 1.0}
    steps = [{**step, "series": s, "value": v, "gib": 1, "files": v} for s in ("size", "files") for v in (1, 2)]
    report.keep("growth", steps, identity=("series", "value"))
    report.keep("compressed", [row], identity=("pair", "tool"))
    archive = {
        "layers": 3,
        "zstd": 1,
        "unknown": 1,
        "target": 9,
        "bundle": 1,
        "create": run,
        "apply": run,
        "exact": True,
    }
    archives = [{**archive, "archive": k, "kind": k, "found": {"Go": 1}} for k in ("usual", "options", "third party")]
    report.keep("layers", archives, identity=("archive",))
    text = (tmp_path / "RESULTS.md").read_text()
    assert "1 of 2 gzip layers as programs write them" in text
    assert "| usual | 3 | 1 x Go | 1 zstd, 1 gzip |" in text
    assert "at most 0.90 of HDiffPatch zstd on 1 of 1" in text
    assert "| p | dib | 1 |" in text
    for name in ("results.svg", "drawn.svg", "growth.svg"):
        ElementTree.fromstring((tmp_path / name).read_text())


def test_bars_escape_names() -> None:
    assert "a&lt;b" in chart.bars([("bytes", ",.0f")], [chart.Bar("a<b", "dib", (1.0,))])


def test_encoders_are_compared_with_the_programs_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"".join(b"%d," % (number * number % 9973) for number in range(40_000)))
    monkeypatch.setattr(sys, "argv", ["encoders.py", str(content), "--only", "zlib;GNU"])
    with pytest.raises(SystemExit) as done:
        encoders.main()
    assert not done.value.code
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 6
    assert all("equal over" in line or "is not here" in line for line in told)
    monkeypatch.setattr(encoders, "ours", lambda case, content: ("", 0))
    with pytest.raises(SystemExit) as done:
        encoders.main()
    assert done.value.code
