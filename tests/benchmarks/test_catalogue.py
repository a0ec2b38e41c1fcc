"""What is kept of machines: the history of this one, and the page of all that were submitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import catalogue, history
from rtstyle.errors import MediaError
from rtstyle.model import ModelSpec
from tests.bench.rows import MACHINE, document, measured

OTHER = replace(document(measured(fps=99.0)), machine=replace(MACHINE, cpu="Other", cores=64))


def test_submitted_machines_make_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, told in (("a", document(measured(), measured("engine"))), ("b", OTHER)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(told.to_json())
    folder = tmp_path / "results"
    folder.mkdir()
    assert catalogue.main([*map(str, files), "--folder", str(folder)]) == 0
    assert len(list(folder.glob("*.json"))) == 2
    page = (folder / "README.md").read_text(encoding="utf-8")
    memory = page.partition("## memory")[2].partition("##")[0]
    assert [fps for fps in ("40.0", "99.0") if fps in memory] == ["40.0", "99.0"]
    assert "Other, 64 cores" in memory
    assert "Other, 64 cores" not in page.partition("## engine")[2].partition("##")[0]
    assert catalogue.main(["--check", "--folder", str(folder)]) == 0
    (folder / "README.md").write_text("by hand")
    assert catalogue.main(["--check", "--folder", str(folder)]) == 1


def test_a_submission_without_figures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text(document().to_json())
    with pytest.raises(MediaError, match="no figures"):
        catalogue.submit(path, tmp_path)


def test_the_page_in_the_tree_is_what_its_results_give() -> None:
    assert catalogue.main(["--check"]) == 0


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


def test_the_tracked_cases_are_cases(tmp_path: Path, tiny_model: ModelSpec) -> None:
    assert len(history.tracked_cases()) >= 4
    (tmp_path / "bad.json").write_text('[{"level": "memory"}]')
    with pytest.raises(MediaError, match="no list of cases"):
        history.tracked_cases(tmp_path / "bad.json")


def test_a_run_is_appended(
    tmp_path: Path, tiny_model: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.json"
    told = {
        "level": "engine", "style": str(tiny_model.path), "engine": "onnxruntime", "width": 64,
        "height": 48, "seconds": 0.1, "burn_in": 0.0,
    }  # fmt: skip
    cases.write_text(json.dumps([told]))
    assert history.main(["--cases", str(cases), "--folder", str(tmp_path / "runs")]) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert len(history.read_history(path)) == 1
    assert "the first time" in capsys.readouterr().out
