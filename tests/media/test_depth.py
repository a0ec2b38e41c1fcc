"""Ten bits and high dynamic range through, and interlaced video made progressive."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame

from rtstyle.errors import UsageError
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.media.video.color import dithered, high_range, undithered
from rtstyle.media.video.source import FileSource
from rtstyle.media.video.tonemap import LightKeeper
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import paint

RAMP = np.tile(np.arange(1024, dtype=np.uint16), (48, 1))  # every level of 10 bits, once a row
MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def _ramp(path: Path) -> Path:
    frame = VideoFrame.from_ndarray(np.stack([RAMP] * 3, -1), "gbrp10le")
    clip = Clip((0,), width=1024, codec="ffv1", pixel_format="gbrp10le", options=())
    return make_clip(path, clip, [frame])


def _first(path: Path) -> VideoFrame:
    with av.open(str(path)) as made:
        return next(made.decode(video=0))


def test_what_dithering_rounds_is_there_on_average() -> None:
    deep = np.stack([RAMP] * 3, -1)
    back = undithered(dithered(deep)).astype(int)
    assert np.abs(back - deep)[:, 4:-4].max() <= 2  # half a level of 8 bits
    means = back.reshape(24, 2, 512, 2, 3).mean((0, 1, 3))
    assert np.abs(means - deep.reshape(24, 2, 512, 2, 3).mean((0, 1, 3)))[2:-2].max() <= 1
    assert back[:, 0].max() == 0
    assert back[:, -1].min() == 1023


def test_a_ramp_of_ten_bits_keeps_its_levels(tmp_path: Path) -> None:
    source, output = _ramp(tmp_path / "in.mkv"), tmp_path / "o.mkv"
    with open_source(source) as opened:
        assert opened.info.bits == 10
        assert len(np.unique(next(opened.frames()).image)) == 256  # what the net sees
        with open_sink(output, opened, WriteOptions(codec="ffv1")) as sink:
            sink.write(next(FileSource(source).frames()))
            sink.finish()
    made = _first(output)
    assert made.format.name == "gbrp10le"
    # Averaged over the rows of a column and its neighbour, as an eye does: no steps of 8 bits.
    levels = made.to_ndarray()[..., 0].reshape(48, 512, 2).mean((0, 2))
    assert len(np.unique(made.to_ndarray())) >= 900
    assert np.diff(levels).min() > 0


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        (".mp4", "libx264", "yuv420p10le"),
        (".mkv", "libx265", "yuv420p10le"),
        (".mov", "prores_ks", "yuv422p10le"),
        (".mp4", "libsvtav1", "yuv420p10le"),
    ],
)
def test_ten_bits_stay_ten_with_their_tags(
    suffix: str, codec: str, pixel_format: str, tmp_path: Path
) -> None:
    clip = Clip(pixel_format="yuv420p10le", colours=(9, 1, 9, 14), width=96, height=64)
    source, notes = make_clip(tmp_path / "in.mp4", clip), list[str]()
    writing = WriteOptions(codec=codec)
    with open_source(source) as opened, open_sink(tmp_path / f"o{suffix}", opened, writing) as sink:
        for frame in opened.frames():
            sink.write(frame)
        sink.finish()
        notes += [*opened.notes, *sink.notes]
    made = _first(tmp_path / f"o{suffix}")
    assert made.format.name == pixel_format
    tags = (made.colorspace, made.color_range, made.color_primaries, made.color_trc)
    assert tags == (9, 1, 9, 14)
    assert notes == []


def test_an_encoder_without_ten_bits_says_so(tmp_path: Path) -> None:
    source, notes = make_clip(tmp_path / "in.mp4", Clip(pixel_format="yuv420p10le")), list[str]()
    paint(source, tmp_path / "o.avi", notes=notes)
    assert notes == ["the input has 10 bits a channel, but mpeg4 has 8 in avi"]
    with open_source(source) as opened:
        wanted = WriteOptions(pixel_format="yuv420p10le")
        with pytest.raises(UsageError, match="mpeg4 has no pixel format 'yuv420p10le'"):
            open_sink(tmp_path / "p.avi", opened, wanted)


def _hdr(path: Path, transfer: int) -> Path:
    """A clip of BT.2020 light from black to the most, with colours."""
    ramp = np.linspace(64, 940, 128).astype(np.uint16)
    frame = VideoFrame(128, 64, "yuv420p10le")
    blue = np.repeat(np.linspace(450, 574, 32), 64).astype(np.uint16)
    red = np.tile(np.linspace(450, 574, 64), 32).astype(np.uint16)
    for plane, data in zip(frame.planes, (np.tile(ramp, 64), blue, red), strict=True):
        rows = data.reshape(plane.height, -1)
        padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        padded[:, : rows.shape[1]] = rows
        plane.update(padded.tobytes())
    parameters = f"log-level=none:hdr10=1:{MASTERING}:max-cll=1000,400:lossless=1"
    clip = Clip(
        width=128, height=64, codec="libx265", pixel_format="yuv420p10le",
        options=(("x265-params", parameters),), colours=(9, 1, 9, transfer),
    )  # fmt: skip
    return make_clip(path, clip, [frame] * 12)


def _light(path: Path, *, hlg: bool) -> np.ndarray:
    """Luminance of the first frame in cd/m2, averaged over 8×8 pixels."""
    deep = _first(path).reformat(format="gbrp10le", src_colorspace=9, dst_color_range=2)
    gain = LightKeeper(hlg=hlg).gain(deep, np.zeros((64, 128, 3), np.uint8))
    light = gain * 0.05 - 0.05  # above black: what `gain` divides by is known
    return light.reshape(8, 8, 16, 8).mean((1, 3))


@pytest.mark.parametrize(("transfer", "hlg"), [(16, False), (18, True)], ids=["PQ", "HLG"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_high_dynamic_range_is_kept(suffix: str, transfer: int, hlg: bool, tmp_path: Path) -> None:
    source, notes = _hdr(tmp_path / "in.mp4", transfer), list[str]()
    output = tmp_path / f"o{suffix}"
    paint(source, output, reading=ReadOptions(keep_hdr=True), notes=notes, preset=None, crf=2)
    assert notes == []
    before, after = _first(source), _first(output)
    assert after.format.name == "yuv420p10le"
    for name in ("colorspace", "color_primaries", "color_trc"):
        assert getattr(after, name) == getattr(before, name)
    stated, kept = high_range(before), high_range(after)
    assert stated is not None
    assert kept is not None
    assert len(stated.mastering) == 10
    assert kept.light_levels == stated.light_levels == (1000, 400)
    for number, other in zip(kept.mastering, stated.mastering, strict=True):
        assert float(number) == pytest.approx(float(other), abs=1 / 16_000)  # what AV1 can say
    wanted, found = _light(source, hlg=hlg), _light(output, hlg=hlg)
    bright = wanted > 1
    assert np.abs(found / wanted - 1)[bright].mean() < 0.01
    assert abs(found.mean() / wanted.mean() - 1) < 0.01


def test_what_cannot_keep_high_dynamic_range_is_refused(tmp_path: Path) -> None:
    keep = ReadOptions(keep_hdr=True)
    with open_source(_hdr(tmp_path / "in.mp4", 16), keep) as source:
        for name, writing, says in (
            ("o.avi", None, "avi cannot state high dynamic range"),
            ("o.gif", None, "gif cannot state high dynamic range"),
            ("pictures", None, "names pictures"),
            ("o.mp4", WriteOptions(codec="mpeg4"), "takes 10 bits, but mpeg4 writes yuv420p"),
            ("o.mp4", WriteOptions(pixel_format="yuv420p"), "takes 10 bits"),
        ):
            with pytest.raises(UsageError, match=says):
                open_sink(tmp_path / name, source, writing)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_interlaced_video_becomes_progressive(tmp_path: Path) -> None:
    clip = Clip(options=(("x264-params", "interlaced=1"), ("qp", "1")))
    source, notes = make_clip(tmp_path / "in.mp4", clip), list[str]()
    paint(source, tmp_path / "o.mp4", notes=notes, crf=1)
    assert not _first(tmp_path / "o.mp4").interlaced_frame
    assert notes == [
        "the video is interlaced and was deinterlaced; --no-deinterlace keeps both fields"
    ]
    with FileSource(source) as one, FileSource(source, ReadOptions(deinterlace=False)) as other:
        pairs = list(zip(one.frames(), other.frames(), strict=True))
        assert [(a.time, a.duration) for a, _ in pairs] == [(b.time, b.duration) for _, b in pairs]
        assert any(np.abs(a.image.astype(int) - b.image).max() > 3 for a, b in pairs)
        assert other.notes == [
            "the video is interlaced; both fields of a frame were kept in one picture"
        ]
