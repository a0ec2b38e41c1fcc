"""The whole quality report on tiny nets: figures, tables, sheets, and going on after a stop."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import command, entries
from benchmarks.quality.entries import Entry, listed_entries
from benchmarks.quality.frontier import Frontiers
from benchmarks.quality.look import Look
from benchmarks.quality.measure import Figure
from benchmarks.quality.noise import noise_gain, tremble
from benchmarks.quality.sheets import labelled_sheet
from benchmarks.quality.tables import markdown, value
from benchmarks.quality.training import seconds_per_1000
from rtstyle.errors import InputNotFoundError, UsageError
from rtstyle.media.images import read_picture
from rtstyle.model.spec import ModelSpec
from tests import graphs
from tests.media.clips import make_clip
from tests.train.materials import (
    make_alexnet,
    make_loss_net,
    make_painting,
    make_photos,
    make_vgg16,
)


@pytest.fixture
def arguments(tmp_path: Path, tiny_model: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with all that a report needs; its list has one model twice."""
    photos = make_photos(tmp_path / "photos", 2)
    (tmp_path / "heldout.txt").write_text("photo0.png\nphoto1.png\n")
    (tmp_path / "clips.txt").write_text("clip.mp4\n")
    monkeypatch.setattr(command, "HELD_OUT", tmp_path / "heldout.txt")
    monkeypatch.setattr(command, "CLIPS", tmp_path / "clips.txt")
    monkeypatch.setattr(command, "Frontiers", partial(Frontiers, steps=2))
    make_clip(tmp_path / "clip.mp4")
    make_painting(tmp_path / "painting.png")
    make_loss_net(tmp_path / "net.safetensors")
    (tmp_path / "list.toml").write_text(f"""
        [[entry]]
        label = "with"
        group = "nets"
        file = "{tiny_model.path.as_posix()}"
        painting = "painting.png"
        style_size = 64
        [[entry]]
        label = "without"
        group = "stability"
        file = "{tiny_model.path.as_posix()}"
        painting = "painting.png"
        style_size = 64
        against = "with"
        """)
    return [
        "--content", str(photos), "--paintings", str(tmp_path),
        "--loss-net", str(tmp_path / "net.safetensors"), "--photographs", "2",
        "--entries", str(tmp_path / "list.toml"), "--group", "nets", "--group", "stability",
        "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"),
        "--frontiers", str(tmp_path / "cache"),
    ]  # fmt: skip


def report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "out" / "quality.json").read_text())
    return document


def test_a_report_has_every_figure_table_and_sheet(
    arguments: list[str], tmp_path: Path, tiny_model: ModelSpec, tiny_checkpoint: Path
) -> None:
    listing = tmp_path / "list.toml"
    first, file, second = listing.read_text().rpartition(tiny_model.path.as_posix())
    assert file
    listing.write_text(first + tiny_checkpoint.as_posix() + second)
    clips = ["--clips", str(tmp_path), "--clip-frames", "3", "--clip-size", "64"]
    assert command.main(arguments + clips) == 0
    document = report(tmp_path)
    assert document["schema"] == 2
    assert document["photographs"] == ["photo0.png", "photo1.png"]
    assert document["clips"]["clip.mp4"]["frames"] == 3
    model, checkpoint = document["entries"]
    assert [model["label"], checkpoint["label"]] == ["with", "without"]
    for name in ("pareto_ratio", "style_loss", "noise_gain", "warping_error_synthetic"):
        each = model["figures"][name]["each"]
        assert len(each) == 2
        assert model["figures"][name]["median"] == pytest.approx(np.median(each), rel=1e-4)
        assert value(model, name) == pytest.approx(value(checkpoint, name), rel=0.05)
    assert list(model["figures"]["warping_error_clips"]["each"]) == ["clip.mp4"]
    assert checkpoint["figures"]["updates"] == 7
    for name in ("parameters", "gmac"):
        assert model["figures"][name] == checkpoint["figures"][name] > 0
    table = (tmp_path / "out" / "quality.md").read_text()
    assert "## Nets" in table
    assert "| without | with |" in table
    sheet, _ = read_picture(tmp_path / "out" / "sheet-nets.png")
    assert sheet.shape == (2 * (256 + 24), 2 * 256, 3)
    assert (tmp_path / "out" / "sheet-stability.png").exists()


def test_networks_that_no_net_was_trained_on_have_a_table_of_their_own(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--vgg16", str(make_vgg16(tmp_path / "vgg16.safetensors")),
        "--alexnet", str(make_alexnet(tmp_path / "alexnet.safetensors")),
        "--davis", str(tmp_path),
    ]  # fmt: skip
    assert command.main([*arguments, *given]) == 0
    missing = [line for line in capsys.readouterr().err.splitlines() if "Not measured" in line]
    assert len(missing) == 1
    assert "--faces" in missing[0]  # which was not given
    model, _ = report(tmp_path)["entries"]
    for name in Look._fields:
        assert len(model["figures"][name]["each"]) == 2
        assert value(model, name) is not None
    assert list(model["figures"]["davis_warp"]["each"]) == ["clip"]
    table = (tmp_path / "out" / "quality.md").read_text()
    assert "| net | model | loss network | VGG-16 style |" in table
    with pytest.raises(UsageError, match=r"no \.mp4 clips"):
        command.main([*arguments, "--davis", str(tmp_path / "photos")])
    assert "Pass --vgg16 with torchvision" in capsys.readouterr().err


def test_what_was_not_measured_says_so(arguments: list[str], tmp_path: Path) -> None:
    listing = tmp_path / "list.toml"
    listing.write_text(listing.read_text().replace("style_size = 64", ""))
    assert command.main(arguments) == 0
    (first, _) = report(tmp_path)["entries"]
    assert not {"pareto_ratio", "fps", "warping_error_clips"} & set(first["figures"])
    assert "noise_gain" in first["figures"]
    row = next(
        line
        for line in (tmp_path / "out" / "quality.md").read_text().splitlines()
        if line.startswith("| with ")
    )
    assert row.split(" | ")[1:4] == ["not measured"] * 3
    assert " 0 |" not in row


def test_an_interrupted_report_keeps_its_figures_and_goes_on(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = command.measure

    def stops_at_second(entry: Entry, *args: Any, **options: Any) -> Figure:
        if entry.label == "without":
            raise KeyboardInterrupt
        return measure(entry, *args, **options)

    monkeypatch.setattr(command, "measure", stops_at_second)
    assert command.main(arguments) == 130
    kept = report(tmp_path)["entries"]
    assert [entry["label"] for entry in kept] == ["with"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}

    monkeypatch.setattr(command, "measure", measure)
    assert command.main(arguments) == 0
    assert report(tmp_path)["entries"][0] == kept[0]
    assert len(report(tmp_path)["entries"]) == 2
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert after == before  # nothing was measured twice
    assert not list((tmp_path / "out").glob(".*"))


def test_frontiers_only_fills_the_cache_and_stops(arguments: list[str], tmp_path: Path) -> None:
    assert command.main([*arguments, "--frontiers-only"]) == 0
    assert len(list((tmp_path / "cache").glob("gatys-2-*.json"))) == 2
    assert not (tmp_path / "out").exists()


def test_pareto_ratios_may_be_taken_on_fewer_photographs(
    arguments: list[str], tmp_path: Path
) -> None:
    assert command.main([*arguments, "--pareto-photographs", "1"]) == 0
    assert len(list((tmp_path / "cache").glob("gatys-2-*.json"))) == 1
    figures = report(tmp_path)["entries"][0]["figures"]
    assert [len(figures[name]["each"]) for name in ("pareto_ratio", "style_loss")] == [1, 2]
    text = (tmp_path / "out" / "quality.md").read_text()
    assert "Pareto ratios are those of 1 of the photographs." in text


def test_groups_of_an_earlier_report_are_taken_over(arguments: list[str], tmp_path: Path) -> None:
    assert command.main([*arguments, "--speed", "--pareto-photographs", "1"]) == 0
    whole = report(tmp_path)["entries"]
    earlier = (tmp_path / "out").rename(tmp_path / "earlier") / "quality.json"
    first = arguments.index("--group")
    again = [*arguments[:first], "--group", "stability", *arguments[first + 4 :]]
    assert command.main([*again, "--speed", "--earlier", str(earlier)]) == 0
    measured, taken = report(tmp_path)["entries"]
    assert measured["label"] == "without"
    assert "fps" in measured["figures"]
    figures = {k: v for k, v in whole[0]["figures"].items() if not k.startswith("fps")}
    assert taken == whole[0] | {"figures": figures}
    of_all, of_nets = (tmp_path / "out" / "quality.md").read_text().split("## Nets")
    assert "Pareto ratios are those of 1 of the photographs." in of_nets
    assert "Pareto ratios are those" not in of_all

    for message, says in (
        (earlier.read_text().replace("photo1", "photo2"), "has other photographs"),
        ("[]", "is no quality.json"),
    ):
        earlier.write_text(message)
        with pytest.raises(UsageError, match=says):
            command.main([*again, "--earlier", str(earlier)])
    with pytest.raises(InputNotFoundError, match="There is no report"):
        command.main([*again, "--earlier", str(tmp_path / "none.json")])


def test_tables_compare_what_belongs_together() -> None:
    def entry(label: str, group: str, against: str | None = None, **figures: float) -> Any:
        return {
            "label": label,
            "group": group,
            "against": against,
            "model": "m.onnx",
            "figures": figures,
        }

    text = markdown(
        {
            "photographs": ["a"],
            "pareto_photographs": 1,
            "clips": {},
            "entries": [
                entry("cin", "shipped", style_loss=0.21, content_loss=0.6, noise_gain=0.3),
                entry("plain", "stability", "cin", style_loss=0.2, noise_gain=0.75),
                entry("own", "single", "cin", style_loss=0.2, content_loss=0.5),
                entry("cin again", "single", style_loss=0.3),
                entry("lost", "single", "nobody", style_loss=0.2, content_loss=0.5),
                entry("adain: a", "unseen", style_gap_closed=0.9),
                entry("adain: b", "unseen", style_gap_closed=0.1),
            ],
        }
    )
    rows = {line.split(" | ")[0][2:]: line for line in text.splitlines() if " | " in line}
    assert "| 0.75 | 0.30 | 0.40 |" in rows["plain"]
    assert "| 0.200 | 0.210 | 1.05 |" in rows["plain"]
    assert "| 0.200 | 0.210 | +5.0% | 0.500 | 0.600 | +20.0% |" in rows["own"]
    assert "| 0.200 | not measured | not measured |" in rows["lost"]
    assert "cin again" not in rows
    assert "| 90% | not measured | no |" in rows["adain: a"]
    assert "| 10% | not measured | yes |" in rows["adain: b"]


def test_a_model_of_many_styles_has_a_figure_over_all_of_them() -> None:
    def style(label: str, model: str, *ratios: float) -> Any:
        figures = {"pareto_ratio": {"median": 0.0, "each": ratios}} if ratios else {}
        return {
            "label": label, "group": "shipped", "against": None, "model": model, "figures": figures,
        }  # fmt: skip

    text = markdown(
        {
            "photographs": ["a", "b", "c"],
            "pareto_photographs": 3,
            "clips": {},
            "entries": [
                style("one", "many.onnx", 1.0, 1.1, 3.0),
                style("two", "many.onnx", 1.2, 1.3, 1.4),
                style("three", "alone.onnx"),
            ],
        }
    )
    *_, rows = text.split("## Shipped models, over all of their styles")
    assert "| many.onnx | 2 | 1.25 | not measured |" in rows
    assert "| alone.onnx | 1 | not measured |" in rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[entry", "no TOML"),
        ("[entry]\nlabel = 'a'", "tables"),
        ("[[entry]]\nlabel = 'a'\ngroup = 'g'", "a needs file"),
        ("[[entry]]\nlabel = 'a'\ngroup = 'g'\nfile = 'f'\ncolour = 1", "unknown colour"),
        ("[[entry]]\nlabel = 'a'\ngroup = 'g'\nfile = 'f'\nstyle_size = 'x'", "style_size, a int"),
    ],
)
def test_a_bad_list_is_refused_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        listed_entries(tmp_path / "list.toml")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"none\.toml"):
        listed_entries(tmp_path / "none.toml")


def test_noise_gain_of_a_net_that_doubles_contrast_is_two() -> None:
    photo = np.full((32, 32, 3), 100, np.uint8)
    trembling = tremble(photo, np.random.default_rng(0))
    assert (trembling.astype(float) - photo).std() == pytest.approx(0.02 * 255, rel=0.05)
    assert noise_gain(photo, trembling, photo * 2, trembling * 2) == pytest.approx(2)


def test_seconds_are_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "losses.csv"
    log.write_text("update,style,seconds\n1,0.5,2.0\n11,0.4,5.0\n21,0.3,8.0\n22,0.")
    assert seconds_per_1000(log) == pytest.approx(300)
    log.write_text("update,style,seconds\n1,0.5,2.0\n")
    assert seconds_per_1000(log) is None
    paused = [(n, 0.3 * n + (1000 if n > 100 else 0)) for n in range(1, 401)]
    log.write_text("update,seconds\n" + "".join(f"{n},{message:.1f}\n" for n, message in paused))
    assert seconds_per_1000(log) == pytest.approx(300)


def test_a_sheet_has_a_strip_above_every_row() -> None:
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    sheet = labelled_sheet([("photographs", grey), ("Größe", grey)])
    assert sheet.shape == (2 * (24 + 64), 128, 3)
    assert sheet[:24].min() == 0  # letters
    assert sheet[:24].max() == 255
    assert (sheet[24:88] == 128).all()


def test_a_model_for_any_painting_is_measured_on_paintings_never_seen(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs.tinting(tmp_path / "any.onnx")
    (tmp_path / "unseen.txt").write_text("painting.png\n")
    monkeypatch.setattr(command, "UNSEEN_PAINTINGS", tmp_path / "unseen.txt")
    monkeypatch.setattr(entries, "shipped_folder", lambda: tmp_path)
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "styles"))
    assert command.main([*arguments, "--group", "unseen", "--unseen-size", "64"]) == 0
    entry = next(row for row in report(tmp_path)["entries"] if row["group"] == "unseen")
    assert entry["label"] == "any: painting.png"
    assert entry["style_size"] == 64
    assert entry["figures"]["pixels_moved"]["median"] > 0.1
    text = (tmp_path / "out" / "quality.md").read_text()
    assert "## Any painting: paintings never trained on" in text
