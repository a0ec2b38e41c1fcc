"""People in frames: painted otherwise where the masks have them, the same in any segment."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rtstyle.engines import EngineOptions
from rtstyle.errors import InputNotFoundError, ModelError, StyleNotFoundError, UsageError
from rtstyle.frame import Frame
from rtstyle.image import Look
from rtstyle.live.commands import PAGE, parse
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.options import LiveOptions
from rtstyle.live.run import LiveJob, run_live
from rtstyle.live.session import Session
from rtstyle.live.settings import Settings
from rtstyle.masks import PersonMasks
from rtstyle.media import WriteOptions, open_source
from rtstyle.media.images import write_picture
from rtstyle.media.synthetic import NullSink
from rtstyle.rendering.api import render
from rtstyle.serve.snapshot import paint_snapshot
from rtstyle.style.backdrop import Backdrop
from rtstyle.style.scene import read_area, scene_of, sorted_areas
from rtstyle.style.style import Area, Style
from tests.graphs import save
from tests.live.conftest import Ramp
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import HALF


@pytest.fixture
def red_is_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net that takes for a person what is red, and for a face what is green."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["conv"]),
        helper.make_node("Clip", ["conv", "zero", "one"], ["masks"]),
    ]
    weights = [
        helper.make_tensor("weights", TensorProto.FLOAT, [2, 3, 1, 1], [1, -1, -1, -1, 1, -1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    path = save(
        tmp_path / "masks.onnx", nodes, {"frame": (TensorProto.UINT8, (1, 144, 256, 3))},
        {"masks": (TensorProto.FLOAT, (1, 2, 144, 256))}, weights=weights,
    )  # fmt: skip
    monkeypatch.setenv("RTSTYLE_MASKS", str(path))
    return path


def _picture(left: int, *, width: int = 256) -> NDArray[np.uint8]:
    """A red person of a third of the width, with a green face, before grey."""
    image = np.full((144, width, 3), 120, np.uint8)
    image[40:, left : left + width // 3] = (230, 20, 20)
    image[60:90, left + width // 9 : left + 2 * width // 9] = (20, 230, 20)
    return image


def _clip(path: Path, n_frames: int = 60) -> Path:
    frames = [
        av.VideoFrame.from_ndarray(_picture(20 + 2 * i), format="rgb24") for i in range(n_frames)
    ]
    clip = Clip(range(0, n_frames * 512, 512), width=256, height=144, keyframe_every=10)
    return make_clip(path, clip, frames)


@pytest.mark.parametrize("width", [256, 80])
def test_masks_follow_the_edges_of_the_picture(red_is_person: Path, width: int) -> None:
    image = cv2.resize(_picture(30, width=width), None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    found = PersonMasks(red_is_person)(Frame(np.asarray(image, np.uint8), Fraction(0), 0))
    assert {mask.shape for mask in found.values()} == {image.shape[:2]}
    person = (image[..., 0] == 230) | (image[..., 1] == 230)
    red = image[..., 0] == 230
    both = (found["person"] > 127) & red
    assert both.sum() / ((found["person"] > 127) | red).sum() > 0.9
    assert found["face"][image[..., 1] == 230].mean() > 0.8 * 255
    np.testing.assert_array_equal(found["background"], 255 - found["person"])
    assert person.any()


def test_a_missing_model_is_said_in_a_sentence_and_the_picture_goes_on(
    gallery: list[Style], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_MASKS", str(tmp_path / "none.onnx"))
    clip = _clip(tmp_path / "in.mp4", 12)
    with pytest.raises(ModelError, match="put MediaPipe's selfie_segmentation"):
        render(clip, tmp_path / "o.mp4", style=gallery[0], areas=[Area("face", strength=0.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    monkeypatch.setenv("RTSTYLE_MASKS", str(gallery[0].model.path))
    with pytest.raises(ModelError, match=r"no model of masks|not pictures and masks"):
        PersonMasks()
    settings = Settings(style=gallery[0], areas=(Area("person", strength=0.0),))
    notes, engine = list[str](), EngineOptions(name="onnxruntime", threads=1)
    job = LiveJob(settings=settings, gallery=tuple(gallery), engine=engine, sinks=("null",),
                  source="lavfi:testsrc2=size=96x64:rate=25", seconds=2.0)  # fmt: skip
    assert run_live(job, on_note=notes.append).report.frames_out > 5
    assert sum("masks" in note for note in notes) == 1


def test_mediapipe_s_own_model_is_taken(tmp_path: Path) -> None:
    """Two logits a place, of everything else and of the person."""
    nodes = [
        helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        helper.make_node("Reshape", ["frame", "rows"], ["flat"]),
        helper.make_node("Reshape", ["logits", "shape"], ["segment"]),
    ]
    weights = [
        helper.make_tensor("weights", TensorProto.FLOAT, [3, 2], [0, 9, 9, 0, 0, 0]),
        helper.make_tensor("rows", TensorProto.INT64, [2], [-1, 3]),
        helper.make_tensor("shape", TensorProto.INT64, [4], [1, 144, 256, 2]),
    ]
    path = save(
        tmp_path / "selfie.onnx", [nodes[1], nodes[0], nodes[2]],
        {"frame": (TensorProto.FLOAT, (1, 144, 256, 3))},
        {"segment": (TensorProto.FLOAT, (1, 144, 256, 2))}, weights=weights,
    )  # fmt: skip
    found = PersonMasks(path)(Frame(_picture(30), Fraction(0), 0))
    assert found["person"][120, 60] > 0.9 * 255
    assert found["person"][75, 70] < 0.1 * 255
    assert found["face"].max() == 0


def test_a_person_is_painted_otherwise(
    red_is_person: Path,
    gallery: list[Style],
    tmp_path: Path,
) -> None:
    bright, dark, _ = gallery
    clip = _clip(tmp_path / "in.mp4")
    wanted: dict[str, tuple[Style, list[Area]]] = {
        "keep": (dark, [Area("person", strength=0.0)]),
        "on": (bright, [Area("person", dark)]),
        "both": (bright, [Area("background", dark), Area("face", strength=0.5)]),
    }
    for name, (style, areas) in wanted.items():
        output = tmp_path / f"{name}.mkv"
        report = render(clip, output, style=style, areas=areas, engine="onnxruntime",
                        segments=HALF, steady=0.0)  # fmt: skip
        assert report.stages["masks"].count >= 60
        with open_source(output) as source:
            frame = next(frame.image for frame in source.frames() if frame.index == 30)
        left = 20 + 60
        person, back = frame[120:140, left + 10 : left + 70].mean(), frame[:20].mean()
        assert (person > 60) == (name != "on"), (name, person)
        assert (back > 60) == (name == "on"), (name, back)


def test_segments_find_the_same_people(
    red_is_person: Path,
    gallery: list[Style],
    tmp_path: Path,
) -> None:
    """Though masks have a memory: a run that goes on ends with the same bytes."""
    clip = _clip(tmp_path / "in.mp4")
    areas = [Area("person", gallery[1]), Area("face", strength=0.3)]

    def paint(output: Path, stop: int | None = None) -> None:
        def on_frame(report: object, total: object) -> None:
            if stop is not None and getattr(report, "frames_out", 0) == stop:
                raise KeyboardInterrupt

        render(clip, output, style=gallery[0], areas=areas, engine="onnxruntime", segments=HALF,
               on_frame=on_frame, look=Look(strength=0.9), steady=0.0)  # fmt: skip

    paint(tmp_path / "whole.mp4")
    with pytest.raises(KeyboardInterrupt):
        paint(tmp_path / "o.mp4", stop=30)
    paint(tmp_path / "o.mp4")
    assert (tmp_path / "o.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_live_commands_say_where(
    red_is_person: Path,
    gallery: list[Style],
) -> None:
    controls = Controls(gallery, Settings(style=gallery[0]))
    for command in ("on person dark", "on face 0.3", "on person 0.5", "keep background"):
        controls.do(command)
    assert controls.settings.areas == (
        Area("background", strength=0.0), Area("person", gallery[1], 0.5), Area("face", None, 0.3),
    )  # fmt: skip
    controls.do("on person off")
    assert [area.where for area in controls.settings.areas] == ["background", "face"]
    for wrong in ("on", "on person", "on dog dark", "keep", "keep person dark", "on face nobody"):
        with pytest.raises(UsageError):
            controls.do(wrong)

    class Person(Ramp):
        def __init__(self) -> None:
            super().__init__(60, rate=25, size=(144, 256))
            self.picture = _picture(40)

    class Keeping(NullSink):
        last: list[NDArray[np.uint8]] = []  # noqa: RUF012

        def write(self, frame: Frame) -> None:
            self.last[:] = [frame.image]

    steps = [
        ["on background off", "on face off", "on person Tiny Waves", "on person 1"],
        ["on person dark"],
    ]

    def act(_: object) -> None:
        if steps and session.pipeline.report.frames_out >= 3 * (3 - len(steps)):
            for command in steps.pop(0):
                controls.do(command)

    controls.do("style dark")
    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:
        session = Session(Person(), Keeping(), controls, pool)
        session.run(act)
    assert session.trouble == ""
    assert Keeping.last[0].max() < 20


@pytest.mark.parametrize("masked", [True, False])
def test_a_snapshot_has_the_areas_of_the_run(
    masked: bool, red_is_person: Path, gallery: list[Style], monkeypatch: pytest.MonkeyPatch
) -> None:
    bright, dark, waves = gallery
    if not masked:  # as the run goes on then
        monkeypatch.setenv("RTSTYLE_MASKS", "nowhere.onnx")
    picture = cv2.resize(_picture(40), None, fx=2.0, fy=2.0, interpolation=cv2.INTER_NEAREST)
    areas = (Area("background", waves, 0.0), Area("person", dark))
    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:
        settings = Settings(style=bright, areas=areas, mirror=True)
        png = paint_snapshot(np.asarray(picture, np.uint8), settings, LiveOptions(), pool)
    painted = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert painted is not None
    assert painted.shape == (288, 512, 3)
    person, back = painted[240:280, 280:420], painted[:40]  # mirrored
    assert (person.max() < 30) == masked
    np.testing.assert_allclose(back, 120, atol=2)


def test_a_background_is_blurred_or_a_picture(
    red_is_person: Path, gallery: list[Style], tmp_path: Path
) -> None:
    """The person is painted before the frame's own background, blurred, or before a beach."""
    _, dark, _ = gallery
    beach = np.zeros((300, 400, 3), np.uint8)
    beach[:, :] = (20, 60, 250)
    write_picture(tmp_path / "beach.png", beach, overwrite=False)
    image = _picture(30)
    image[::2] //= 2  # stripes, which a blur takes
    write_picture(tmp_path / "in.png", image, overwrite=False)
    for what in ("blur", f"picture:{tmp_path / 'beach.png'}"):
        areas = [read_area("background", what)]
        output = tmp_path / f"{what[:4]}.png"
        render(tmp_path / "in.png", output, style=dark, areas=areas, engine="onnxruntime")
        painted = np.asarray(cv2.imread(str(output)))[..., ::-1]
        back = painted[:30, 150:].astype(int)
        if what == "blur":
            assert 70 < back.mean() < 110
            assert np.abs(np.diff(back, axis=0)).max() < 12
        else:
            assert np.abs(back - beach[0, 0]).max() <= 2
        assert painted[120:140, 45:100].mean() < 40
    with pytest.raises(InputNotFoundError):
        read_area("background", "picture:none.png")

    controls = Controls(gallery, Settings(style=dark))
    controls.do("on background blur")
    controls.do("on background 0.5")
    assert controls.settings.areas == (Area("background", None, 0.5, Backdrop("blur")),)
    picture = f"on background picture:{tmp_path / 'beach.png'}"
    with pytest.raises(StyleNotFoundError):  # a page opens no files
        controls.do(parse(picture, PAGE))
    controls.do(picture)
    assert controls.settings.areas[0].backdrop == Backdrop("beach.png")
    controls.do("on background dark")
    assert controls.settings.areas == (Area("background", dark, 0.5),)


def test_places_are_read_once_each() -> None:
    assert read_area("face", "0.3") == Area("face", strength=0.3)
    assert scene_of({"on": {"face": 0.3, "background": 0}}).on == (
        Area("background", strength=0.0), Area("face", strength=0.3),
    )  # fmt: skip
    with pytest.raises(UsageError, match="given twice"):
        sorted_areas([Area("face", None, 0.1), Area("face", None, 0.2)])
    for place, value in (("dog", "udnie"), ("face", 1.5), ("face", "nan"), ("face", [])):
        with pytest.raises(UsageError):
            read_area(place, value)


@pytest.mark.parametrize(("suffix", "decoder"), [(".mov", "prores"), (".webm", "libvpx-vp9")])
def test_the_alpha_of_a_video_is_the_mask(
    suffix: str, decoder: str, red_is_person: Path, gallery: list[Style], tmp_path: Path
) -> None:
    clip, output = _clip(tmp_path / "in.mp4", 12), tmp_path / f"o{suffix}"
    writing = WriteOptions(alpha=True, crf=4 if suffix == ".webm" else None)
    render(clip, output, style=gallery[0], engine="onnxruntime", writing=writing, steady=0.0)
    masks, differences = PersonMasks(red_is_person), list[float]()
    with open_source(clip) as source, av.open(str(output)) as made:
        alphas = _alphas(made, decoder)
        for frame, alpha in zip(source.frames(), alphas, strict=True):
            wanted = masks(frame)["person"].astype(float)
            differences.append(float(np.abs(alpha - wanted).mean()))
    assert len(differences) == 12
    assert max(differences) < 2


def _alphas(made: av.container.InputContainer, decoder: str) -> Iterator[NDArray[np.uint8]]:
    context = av.codec.CodecContext.create(decoder, "r")
    context.extradata = made.streams.video[0].codec_context.extradata
    for packet in made.demux(made.streams.video[0]):
        for frame in context.decode(packet):
            assert isinstance(frame, av.VideoFrame)
            assert "a" in frame.format.name[3:]
            yield frame.reformat(format="rgba").to_ndarray()[..., 3]


def test_alpha_of_pictures_and_where_there_is_none(
    red_is_person: Path, gallery: list[Style], tmp_path: Path
) -> None:
    picture = tmp_path / "in.png"
    write_picture(picture, _picture(30), overwrite=False)
    chosen: dict[str, Any] = {"style": gallery[0], "engine": "onnxruntime"}
    writing = WriteOptions(alpha=True)
    render(picture, tmp_path / "o.png", writing=writing, **chosen)
    alpha = cv2.imread(str(tmp_path / "o.png"), cv2.IMREAD_UNCHANGED)[..., 3]
    wanted = PersonMasks(red_is_person)(Frame(_picture(30), Fraction(0), 0))["person"]
    np.testing.assert_array_equal(alpha, wanted)
    for name in ("o.jpg", "o.mp4", "o.gif"):
        with pytest.raises(UsageError, match="cannot hold transparency"):
            render(picture, tmp_path / name, writing=writing, **chosen)
    assert {path.name for path in tmp_path.iterdir()} == {"in.png", "o.png", "masks.onnx"}
