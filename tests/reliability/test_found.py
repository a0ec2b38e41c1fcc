"""What the damage corpus and the fuzzing found, each once more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

import rtstyle.cli.main
from benchmarks.reliability.materials import CLIPS, write_clip, write_picture
from benchmarks.reliability.sandbox import Ran, Sandbox
from rtstyle.cli.terminal import plain
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import EngineError
from rtstyle.media.video.source import FileSource
from rtstyle.model.file import read_model
from rtstyle.rendering.api import render
from tests.graphs import copying, dimming
from tests.media.clips import Clip, make_clip
from tests.serve.dim import DIM


def _paint(source: Path, output: Path) -> list[str]:
    notes: list[str] = []
    render(source, output, style="udnie", engine="identity", on_note=notes.append)
    return notes


def _sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("name", ["h264.flv", "mpeg4.nut"])
def test_the_last_sound_packet_of_a_file_without_durations_stays(name: str, tmp_path: Path) -> None:
    source, output = tmp_path / name, tmp_path / "out.mp4"
    write_clip(source, CLIPS[name])
    _paint(source, output)
    assert _sound(output) == _sound(source)


def test_sound_of_an_unknown_codec_is_left_out_with_a_note(tmp_path: Path) -> None:
    source = tmp_path / "in.mov"
    write_clip(source, CLIPS["mjpeg.mov"])
    source.write_bytes(source.read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    notes = _paint(source, tmp_path / "out.avi")
    assert any("audio stream 1" in note and "left out" in note for note in notes)


def test_sound_whose_clock_starts_over_does_not_end_the_painting(tmp_path: Path) -> None:
    source, output = tmp_path / "in.ts", tmp_path / "out.mp4"
    write_clip(source, CLIPS["mpeg2.ts"], n_frames=30)
    source.write_bytes(source.read_bytes() * 2)
    notes = _paint(source, output)
    with FileSource(source) as before, FileSource(output) as after:
        assert len(list(before.times())) == len(list(after.times())) >= 60
    assert any("sound packets" in note and "left out" in note for note in notes)


def test_avi_says_that_it_cannot_begin_late(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Clip(times=tuple(range(5120, 10240, 512))))
    assert "avi has no times: the pictures begin at 0 s instead of 0.400 s" in _paint(
        source, tmp_path / "out.avi"
    )


def test_what_steers_a_terminal_is_escaped() -> None:
    assert plain("a\nb \x1b[31mred\x07 é…\udcff") == "a\\nb \\x1b[31mred\\x07 é…\\udcff"


def test_a_description_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = DIM | {"description": "[/bold] \x1b[31m two\nlines"}
    dimming(tmp_path / "a.onnx", metadata={"rtstyle": json.dumps(message)})
    monkeypatch.setenv("RTSTYLE_MODELS", str(tmp_path))
    result = CliRunner().invoke(rtstyle.cli.main.app, ["styles"])
    assert result.exit_code == 0
    assert "[/bold]" in result.stdout
    assert "\x1b[31m" not in result.stdout


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_refuses_a_model_in_one_sentence(engine: str, tmp_path: Path) -> None:
    path = copying(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes().replace(b"Identity", b"Nonsense"))
    with pytest.raises(EngineError, match=r"cannot load a\.onnx \(.*\); .*\.$"):
        open_engine(EngineOptions(name=engine, threads=1), read_model(path))


def _command(tmp_path: Path, *argv: str, fresh: bool = False) -> Ran:
    with Sandbox(tmp_path / "printed", fresh=fresh) as sandbox:
        return sandbox.run(["rtstyle", "render", *argv, "--engine", "identity"], cwd=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox forks")
def test_what_image_codecs_print_is_not_what_users_see(tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png")
    whole = (tmp_path / "in.png").read_bytes()
    (tmp_path / "in.png").write_bytes(whole[:200] + bytes(500) + whole[700:])
    ran = _command(tmp_path, "in.png", "out.png", fresh=True)
    assert ran.status == 1
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("rtstyle: in.png is not a picture")


def test_too_little_memory_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(path: Path) -> None:
        np.empty(1 << 62, np.uint8)

    monkeypatch.setattr("rtstyle.media.sequence.read_picture", fail)
    monkeypatch.setattr(sys, "argv", ["rtstyle", "render", "in.png", str(tmp_path / "out.png")])
    with pytest.raises(SystemExit) as left:
        rtstyle.cli.main.main()
    assert left.value.code == 1
    assert "too little memory" in capsys.readouterr().err
