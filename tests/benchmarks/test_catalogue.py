"""What is kept of machines: the history of this one, and the page of all that were submitted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import catalogue, history
from benchmarks.studies import Study, Table, keep, read_studies, show
from rtstyle.bench.result import ABSENT, FAIL, PASS, Check, Measured, Missing
from rtstyle.errors import MediaError, OutputError, UsageError
from rtstyle.model.spec import ModelSpec
from tests.bench.rows import MACHINE, document, measured


def shown(level: str = "memory", *, fps: float = 99.0, **more: object) -> Measured:
    """Figures of a shipped style."""
    return measured(level, fps=fps, style="starry_night", **more)


OTHER = replace(document(shown()), machine=replace(MACHINE, cpu="Other", cores=64))
SHOWN = (
    "# Title\n\n<!-- speed: none -->\nNot measured yet.\n<!-- speed ends -->\n\nThe end.\n"
    "<!-- gpus -->\n<!-- gpus end -->\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmark.md").write_text(SHOWN)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    return tmp_path


def results(root: Path, *arguments: object) -> int:
    return catalogue.main([*map(str, arguments), "--root", str(root)])


def test_submitted_machines_make_a_page(root: Path) -> None:
    files = []
    for name, message in (("a", document(shown(fps=40.0), shown("engine"))), ("b", OTHER)):
        files.append(root / f"{name}.json")
        files[-1].write_text(message.to_json())
    assert results(root, *files) == 0
    folder = root / "benchmarks" / "results"
    assert len(list(folder.glob("*.json"))) == 2
    page = (folder / "README.md").read_text(encoding="utf-8")
    memory = page.partition("## memory")[2].partition("##")[0]
    assert [fps for fps in ("40.0", "99.0") if fps in memory] == ["40.0", "99.0"]
    assert "Other, 64 cores" in memory
    assert "Other, 64 cores" not in page.partition("## engine")[2].partition("##")[0]
    assert results(root, "--check") == 0
    for stale in (folder / "README.md", root / "docs" / "speed.md"):
        kept = stale.read_text(encoding="utf-8")
        stale.write_text("by hand")
        assert results(root, "--check") == 1
        assert stale.read_text() == "by hand"
        stale.write_text(kept, encoding="utf-8")
    assert results(root, "--check") == 0


def test_a_submitted_gpu_is_on_the_page(root: Path) -> None:
    """As `rtstyle gpu-check --json` writes it: every engine alone, at two sizes."""
    rows = [
        replace(
            shown("engine", fps=fps, width=width, height=height),
            engine=engine, precision="fp16", watts=300.0, sm_mhz=1980.0, celsius=61.0,
        )
        for engine, fps, width, height in (
            ("tensorrt", 4000.4, 1280, 720), ("tensorrt", 1800.0, 1920, 1080),
            ("torch-cuda", 900.0, 1280, 720), ("openvino", 12.0, 1280, 720),
        )
    ]  # fmt: skip
    machine = replace(MACHINE, gpu="Test <GPU>", driver="580.1")
    path = root / "gpu.json"
    path.write_text(replace(document(*rows), machine=machine).to_json())
    assert results(root, path) == 0
    text = (
        (root / "docs" / "benchmark.md").read_text(encoding="utf-8").partition("<!-- gpus -->")[2]
    )
    start = "| Test \\<GPU\\>, driver 580.1 | starry_night |"
    assert (
        f"{start} tensorrt fp16 | 4000.4 | 1800.0 | 26.0 | 300.0 | 1980.0 | 61.0 | 0.01 |" in text
    )
    assert f"{start} torch-cuda fp16 | 900.0 | – | – | – | – | – | – |" in text
    assert "openvino" not in text
    assert results(root, "--check") == 0


def test_checks_of_gpus_are_kept_and_shown(root: Path) -> None:
    checks = (
        Check("tensorrt", "start", PASS, figures={"seconds": 1.0}),
        Check("tensorrt", "parity", FAIL, "off by 3 in /home/peter/m.onnx"),
        Check("rtx", "start", ABSENT, "a | b"),
    )
    path = root / "gpu.json"
    path.write_text(replace(document(shown("engine")), checks=checks).to_json())
    assert results(root, path) == 0
    page = (root / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8")
    assert "| tensorrt | 1 | parity: off by 3 in m.onnx |  |" in page
    assert "| rtx | 0 |  | start: a \\| b |" in page
    assert results(root, "--check") == 0
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"FAIL"', '"FINE"'))
    with pytest.raises(MediaError, match="no status 'FINE'"):
        results(root, path)


def test_the_page_shows_one_machine(root: Path) -> None:
    path = root / "mine.json"
    rows = (shown("engine", fps=50.0), shown("file", fps=31.4), shown("file", width=1280))
    path.write_text(document(*rows).to_json())
    assert results(root, path, "--shown") == 0
    text = (root / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- speed: test-cpu-4-")
    assert "<!-- speed ends -->\n\nThe end.\n<!-- gpus -->\nNot measured yet: no GPU" in text
    assert "| file | openvino | 31.4 | 99.0 | 26.0 | 0.01 |" in text
    assert "| engine | openvino | 50.0 | – | 26.0 | 0.01 |" in text
    assert "Not measured yet" not in text.partition("<!-- gpus -->")[0]
    assert results(root, "--check") == 0
    (root / "docs" / "benchmark.md").write_text(text.replace("31.4", "61.4"))
    assert results(root, "--check") == 1, "a figure that was changed by hand"
    assert results(root) == 0
    assert (root / "docs" / "benchmark.md").read_text(encoding="utf-8") == text
    (root / "docs" / "benchmark.md").write_text(text.replace("speed: test", "speed: gone"))
    with pytest.raises(MediaError, match="shows the machine gone-cpu"):
        results(root)
    (root / "docs" / "benchmark.md").write_text("no marks")
    with pytest.raises(MediaError, match="no place for the table"):
        results(root)


def test_a_hostile_submission_stays_text_and_names_nobody(root: Path) -> None:
    bad = "<img src=x onerror=alert(1)> [a](http://e.org) ![t](//e.org/t.png) | `x` www.e.org @me"
    message = replace(
        document(
            replace(shown(), engine=bad, unmeasured={"watts": "no /home/peter/lib/x.so here"}),
            missing=(Missing("C:\\Users\\peter\\a.onnx", "see /home/peter/.cache/x.log"),),
        ),
        machine=replace(MACHINE, cpu=bad),
    )
    path = root / "bad.json"
    path.write_text(message.to_json())
    assert results(root, path, "--shown") == 0
    for page in ("docs/benchmark.md", "benchmarks/results/README.md"):
        text = (root / page).read_text(encoding="utf-8")
        assert not re.search(
            r"(?<!\\)[<`!\[]img|(?<!\\)<img|(?<!\\)\[a|(?<!\\)`x|http:|www\.|@me", text
        )
    (kept,) = (root / "benchmarks" / "results").glob("*.json")
    assert "peter" not in kept.read_text(encoding="utf-8")


def test_a_submission_without_figures_or_of_own_styles_is_refused(root: Path) -> None:
    path = root / "empty.json"
    path.write_text(document().to_json())
    with pytest.raises(MediaError, match="no figures"):
        results(root, path)
    path.write_text(document(measured(style="/home/peter/mine.onnx")).to_json())
    with pytest.raises(MediaError, match="compared by shipped styles"):
        results(root, path)
    with pytest.raises(UsageError, match="one FILE"):
        results(root, "--shown")
    assert not list((root / "benchmarks" / "results").iterdir())


def test_the_pages_in_the_tree_are_what_their_results_give() -> None:
    assert catalogue.main(["--check"]) == 0


def test_studies_are_kept_and_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(
        name="rigged", command="python -m benchmarks rigged --seconds 9",
        passed=True, seconds=61.0, verdicts=("1 of 1 was <right>.",),
        missing=("b: there is no | b",), figures={"x": 1.5},
        tables=(Table(title="T", columns=("name", "fps"), rows=(("a", "1.0"),)),),
    )  # fmt: skip
    folder = root / "benchmarks" / "results" / "studies"
    keep(study, folder / "rigged.json")
    kept = read_studies(folder)
    assert kept["rigged"].study == study
    assert results(root) == 0
    page = (root / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "| a | 1.0 |" in page
    assert "python -m benchmarks rigged --seconds 9: 1.0 minutes on" in page
    assert "What is claimed holds." in page
    assert "1 of 1 was \\<right\\>." in page
    assert "- b: there is no \\| b" in page
    assert "Not measured yet: `python -m benchmarks peers`." in page
    show(study)
    assert "PASSED" in capsys.readouterr().out
    (folder / "rigged.json").write_text('{"name": 5}')
    with pytest.raises(MediaError, match="no study"):
        results(root, "--check")


def test_history_is_one_file_a_machine_and_one_line_a_run(tmp_path: Path) -> None:
    first, second = document(measured(fps=40.0)), document(measured(fps=50.0))
    path = history.append(first, tmp_path, commit="abc")
    assert history.append(second, tmp_path) == path
    assert history.append(OTHER, tmp_path) != path
    assert history.read_history(path) == [first, second]
    assert json.loads(path.read_text().splitlines()[0])["commit"] == "abc"
    assert "50.00 fps, 1.250 of 40.00 before" in history.report(second, first)
    assert "the first time" in history.report(first, None)
    path.write_text("{}\n")
    with pytest.raises(MediaError, match="no result"):
        history.read_history(path)


def test_a_full_disk_leaves_the_history_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = history.append(document(measured()), tmp_path)
    before = path.read_text()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left"):
            history.append(document(measured()), tmp_path)
    assert [p.read_text() for p in tmp_path.iterdir()] == [before]


def test_the_tracked_cases_are_cases(tmp_path: Path, tiny_model: ModelSpec) -> None:
    assert len(history.tracked_cases()) >= 4
    (tmp_path / "bad.json").write_text('[{"level": "memory"}]')
    with pytest.raises(MediaError, match="no list of cases"):
        history.tracked_cases(tmp_path / "bad.json")


def test_a_run_is_appended(
    tmp_path: Path, tiny_model: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.json"
    message = {
        "level": "engine", "style": str(tiny_model.path), "engine": "onnxruntime", "width": 64,
        "height": 48, "seconds": 0.1, "burn_in": 0.0,
    }  # fmt: skip
    cases.write_text(json.dumps([message]))
    assert history.main(["--cases", str(cases), "--folder", str(tmp_path / "runs")]) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert len(history.read_history(path)) == 1
    assert "the first time" in capsys.readouterr().out
