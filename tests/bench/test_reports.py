"""The same results as table, JSON, Markdown and page."""

from __future__ import annotations

import errno
import json
import re
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rtstyle.bench import page, plots
from rtstyle.bench.case import Wanted, plan_cases
from rtstyle.bench.document import Document, parse_document, read_document, write_text
from rtstyle.bench.machine import this_machine
from rtstyle.bench.result import Missing, histogram, quantiles
from rtstyle.bench.table import markdown, notes, print_table
from rtstyle.errors import MediaError, OutputError, OutputExistsError, RtstyleError, UsageError
from tests.bench.rows import MACHINE, case, document, measured

DOCUMENT = document(
    measured("engine", fps=50.0),
    measured("engine", fps=12.5, width=1280, height=720),
    measured("file"),
    missing=(Missing("tensorrt", "there is no <GPU>"),),
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def test_json_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_text(path, DOCUMENT.to_json(), overwrite=False)
    assert read_document(path) == DOCUMENT
    message = json.loads(path.read_text())
    assert message["schema"] == 1
    assert message["results"]["engine / waves / openvino"] == {"640x360": 50.0, "1280x720": 12.5}
    assert message["latencies_ms"]["file / waves / openvino"]["640x360"]["p95"] == 26.0
    assert message["missing"] == [{"what": "tensorrt", "reason": "there is no <GPU>"}]
    assert {"cpu", "cores", "gpu", "vram_gb", "driver", "system", "key"} <= set(message["machine"])
    with pytest.raises(OutputExistsError):
        write_text(path, "", overwrite=False)


def test_auto_is_named_by_the_engine_it_stood_for() -> None:
    assert list(document(measured("engine", engine="auto")).catalogue()) == [
        "engine / waves / openvino"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", '{"schema": 2}', '{"schema": 1}', "[" * 100_000,
        '{"schema": ' + "9" * 5000 + "}",
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(MediaError, match=r"some\.json"):
        parse_document(text, Path("some.json"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("machine.cores", True), ("machine.cores", -4), ("machine.cores", 4.0),
        ("machine.owner", "me"), ("machine.memory_gb", float("nan")), ("machine.cpu", "A" * 5000),
        ("machine.system", "Linux \x1b[31m"), ("made", "<b>"), ("made", 5), ("app.version", None),
        ("cases", {}), ("cases.0", []), ("cases.0.fps", 0.0), ("cases.0.fps", None),
        ("cases.0.peak_rss_mb", float("inf")), ("cases.0.latency_ms.p50", 1e9),
        ("cases.0.latency_ms.p94", 1.0), ("cases.0.latency_ms.count", 0),
        ("cases.0.histogram.counts", [1]), ("cases.0.stages_ms", {"<b>": 1.0}),
        ("cases.0.case.level", "nonsense"), ("cases.0.case.width", "640"),
        ("cases.0.case.width", 0), ("cases.0.unmeasured", [{}]), ("missing.0", {"what": "x"}),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_refused(place: str, value: object) -> None:
    message: Any = json.loads(DOCUMENT.to_json())
    *path, last = (int(key) if key.isdigit() else key for key in place.split("."))
    inner = message
    for key in path:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(MediaError, match=r"some\.json is no result"):
        parse_document(json.dumps(message), Path("some.json"))


@given(st.data())
def test_whatever_stands_in_a_result_is_read_or_refused(data: st.DataObject) -> None:
    """A value anywhere in the document is replaced by any other JSON."""
    message = json.loads(DOCUMENT.to_json())
    place, keys = message, []
    while isinstance(place, (dict, list)) and place:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        keys.append((place, data.draw(st.sampled_from(names))))
        place = keys[-1][0][keys[-1][1]]
        if data.draw(st.booleans()):
            break
    whole, key = keys[-1]
    whole[key] = data.draw(ANY_JSON)
    with suppress(MediaError):
        read = parse_document(json.dumps(message), Path("some.json"))
        assert parse_document(read.to_json(), Path("some.json")) == read
        assert (markdown(read) + "".join(notes(read))).replace("\n", "").isprintable()


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 8_000_001)
    with pytest.raises(MediaError, match="more than 8 MB"):
        read_document(path)


HOSTILE = """<script>alert(1)</script> ![x](http://e.org/t.png) | `a` $\\frac{$ <img src=x>"""


def test_names_stay_text_on_the_page() -> None:
    pytest.importorskip("matplotlib")
    rows = (measured(style=HOSTILE), measured(style=HOSTILE, width=1280, height=720))
    rows = tuple(replace(row, engine=HOSTILE, device=HOSTILE, model=HOSTILE) for row in rows)
    message = replace(
        document(*rows, missing=(Missing(HOSTILE, HOSTILE),)),
        machine=replace(MACHINE, cpu=HOSTILE, gpu=HOSTILE, driver=HOSTILE),
    )
    html = page.html_page(parse_document(message.to_json(), Path("x")))
    for plot in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(plot)
    assert not re.search(r"<script|<img|href=.http|src=.http", html)
    assert "&lt;script&gt;alert(1)" in html


def test_a_missing_figure_is_no_zero() -> None:
    out = StringIO()
    print_table(DOCUMENT, Console(file=out, width=80))
    shown = out.getvalue()
    assert "Not measured: tensorrt: there is no <GPU>" in shown
    assert "No watts in 3 of 3 cases: there is no GPU." in shown.replace("\n", " ")
    assert "watts" not in shown.splitlines()[0], "a column of nothing"
    row = next(line for line in markdown(DOCUMENT).splitlines() if "1280×720" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[4] == "12.5"
    assert cells[9:11] == ["–", "–"]
    assert "0.0" not in cells


def test_the_page_needs_nothing_else() -> None:
    pytest.importorskip("matplotlib")
    html = page.html_page(DOCUMENT)
    drawn = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawn) == 1 + 1 + 3, "the level with two sizes, the size with stages, the latencies"
    for plot in drawn:
        ElementTree.fromstring(plot)
    assert "Test &lt;CPU&gt;" in html
    assert "there is no &lt;GPU&gt;" in html
    assert not re.search(r"<script|<link|src=|@import", html)
    assert len(html) < 1_000_000
    assert html == page.html_page(DOCUMENT), "the same results give the same page"
    assert "<svg" not in page.html_page(document(missing=DOCUMENT.missing))
    assert "off by 0.01" in html, "no speed without what it is worth"


def test_without_a_plotting_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(plots, "import_module", absent)
    with pytest.raises(RtstyleError, match=r"pip install 'rtstyle\[bench\]'"):
        page.html_page(DOCUMENT)


def test_an_output_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_text(tmp_path / "no" / "x.json", "", overwrite=False)
    (tmp_path / "x.json").write_text("old")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left"):
            write_text(tmp_path / "x.json", "new", overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.json", "old")]


def test_this_machine_is_reported() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.key == this_machine().key
    assert re.fullmatch(r"[a-z0-9-]+", machine.key)
    for fact in ("gpu", "vram_gb", "driver", "memory_gb"):
        assert (getattr(machine, fact) is None) == (fact in machine.reasons)
    assert Document.of(machine, [measured(), Missing("a", "b")]).missing == (Missing("a", "b"),)


def test_the_plan_is_every_combination() -> None:
    sizes = ["720p", "360p", "640x360"]  # two of them are one
    engines = ["openvino", "torch"]
    cases = plan_cases(Wanted(styles=["waves"], engines=engines, sizes=sizes, batches=[1, 4]))
    assert len(set(cases)) == len(cases) == 2 * (2 * (2 + 1 + 1) + (2 + 1 + 1)) + 2
    assert [c.width for c in cases] == sorted(c.width for c in cases)
    assert {c.level for c in cases if c.batch > 1} == {"engine"}
    assert {c.size for c in cases if c.level == "live"} == {"640x360"}
    assert {c.precision for c in cases if c.level == "live"} == {"fastest"}
    twice = [c for c in cases if c.level == "engine" and c.precision == "fastest"]
    assert {c.engine for c in twice} == {"openvino"}
    named = plan_cases(Wanted(styles=["waves"], engines=engines, sizes=sizes, precisions=["int8"]))
    assert {c.precision for c in named} == {"int8"}


def test_a_busy_machine_is_said_to_be_one() -> None:
    busy = Document.of(replace(MACHINE, busy=1.4), [measured()])
    assert any("kept 1.4 of 4 cores busy" in line for line in notes(busy))
    assert not any("busy" in line for line in notes(Document.of(MACHINE, [measured()])))
    assert parse_document(busy.to_json(), Path("b.json")).machine.busy == 1.4


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "gpu"}, {"width": 0}, {"batch": 2}, {"seconds": 0.0}, {"seconds": float("nan")},
        {"level": "engine", "batch": 0}, {"precision": "foo"},
    ],
)  # fmt: skip
def test_a_case_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        case(**{"level": "memory"} | wrong)  # type: ignore[arg-type]


def test_quantiles_are_those_of_all_durations() -> None:
    found = quantiles([float(n) for n in range(1, 102)])
    assert (found.p50, found.p95, found.p99, found.worst, found.count) == (51, 96, 100, 101, 101)
    assert histogram([5.0]).counts[15] == 1
