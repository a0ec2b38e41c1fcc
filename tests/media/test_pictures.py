"""Pictures, alone and in folders."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from rtstyle.errors import MediaError, OutputError, OutputExistsError, UsageError
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.media.images import as_painted, read_picture, write_picture
from rtstyle.media.sequence import find_pictures
from tests.media.clips import make_clip, picture
from tests.media.heif import write_tiled_heic

pillow_heif.register_heif_opener()


def _paint(source_path: Path, output: Path, writing: WriteOptions | None = None) -> list[str]:
    """Copy what a source delivers; the notes."""
    with open_source(source_path) as source, open_sink(output, source, writing) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    return source.notes + sink.notes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_every_format_in_and_out(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, picture(3), overwrite=False)
    image, alpha = read_picture(path)
    assert not alpha
    assert np.abs(image.astype(int) - picture(3)).mean() < 3
    with Pillow.open(path) as other:
        assert np.abs(np.asarray(other.convert("RGB")).astype(int) - picture(3)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    from PIL import ImageOps

    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(picture(3)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    with Pillow.open(tmp_path / "a.jpg") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    image, _ = read_picture(tmp_path / "a.jpg")
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 3


def test_grey_sixteen_bit_and_transparent(tmp_path: Path) -> None:
    Pillow.fromarray(picture(0)).convert("L").save(tmp_path / "grey.png")
    grey, _ = read_picture(tmp_path / "grey.png")
    assert (grey[..., 0] == grey[..., 2]).all()

    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), picture(0)[..., ::-1].astype(np.uint16) * 257)
    deep, _ = read_picture(tmp_path / "deep.png")
    assert np.abs(deep.astype(int) - picture(0)).max() <= 1

    Pillow.fromarray(picture(0)).convert("RGBA").save(tmp_path / "clear.png")
    clear, alpha = read_picture(tmp_path / "clear.png")
    assert alpha
    assert (clear == picture(0)).all()
    assert "transparency" in _paint(tmp_path / "clear.png", tmp_path / "o.png")[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_truncated_picture_is_an_error(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    write_picture(tmp_path / f"a{suffix}", noise, overwrite=False)
    whole = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="damaged"):
        open_source(tmp_path / f"b{suffix}")


def test_a_folder_keeps_names_and_sizes(tmp_path: Path) -> None:
    sizes = {"b10.png": (40, 30), "b2.jpg": (31, 21), "a.bmp": (16, 50)}
    folder = tmp_path / "in"
    folder.mkdir()
    for name, (width, height) in sizes.items():
        write_picture(folder / name, picture(0, width, height), overwrite=False)
    (folder / "notes.txt").write_text("not a picture")
    assert [p.name for p in find_pictures(folder)] == ["a.bmp", "b2.jpg", "b10.png"]
    assert _paint(folder, tmp_path / "out") == []
    for name, (width, height) in sizes.items():
        assert read_picture(tmp_path / "out" / name)[0].shape == (height, width, 3)
    _paint(folder, tmp_path / "png", WriteOptions(suffix=".png"))
    assert sorted(p.name for p in (tmp_path / "png").iterdir()) == ["a.png", "b10.png", "b2.png"]


def test_a_folder_refuses_to_overwrite_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for index in range(3):
        write_picture(tmp_path / f"in/{index}.png", picture(index), overwrite=False)
    write_picture(tmp_path / "out/2.png", picture(9), overwrite=False)
    with pytest.raises(OutputExistsError, match=r"2\.png"):
        _paint(tmp_path / "in", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 1
    with pytest.raises(UsageError, match="the input itself"):
        _paint(tmp_path / "in", tmp_path / "in", WriteOptions(overwrite=True))
    _paint(tmp_path / "in", tmp_path / "out", WriteOptions(overwrite=True))
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_two_pictures_never_become_one(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        write_picture(tmp_path / name, picture(0), overwrite=False)
    with pytest.raises(UsageError, match="Two pictures"):
        _paint(tmp_path, tmp_path / "out", WriteOptions(suffix=".png"))


def test_a_broken_picture_ends_the_folder_and_is_named(tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / f"{index}.png", picture(index), overwrite=False)
    (tmp_path / "1.png").write_bytes(b"no picture")
    with open_source(tmp_path) as source:
        frames = source.frames()
        assert next(frames).index == 0
        with pytest.raises(MediaError, match=r"1\.png"):
            next(frames)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("before", [".jpg", ".png", ".webp", ".heic", ".avif"])
def test_exif_and_colour_profile_are_kept(before: str, suffix: str, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    source, taken = tmp_path / f"a{before}", Pillow.fromarray(picture(0))
    exif = taken.getexif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    # pillow-heif turns what the picture itself says, as phones store it.
    given = {} if before == ".heic" else {"exif": exif}
    taken.save(source, icc_profile=profile.tobytes(), **given)
    _paint(source, tmp_path / f"b{suffix}")
    with Pillow.open(tmp_path / f"b{suffix}") as made:
        assert made.size == (48, 64)  # upright, and so it says
        assert made.getexif()[0x010F] == "A maker"
        assert made.getexif().get(0x0112, 1) == 1
        assert made.info["icc_profile"] == profile.tobytes()


def test_a_photograph_of_a_phone_is_read_whole(tmp_path: Path) -> None:
    """Phones store tiles and how they lie; the first alone was painted."""
    wanted = np.asarray(Pillow.fromarray(picture(0)).resize((384, 256)))
    write_tiled_heic(tmp_path / "a.heic", wanted, side=128)
    with open_source(tmp_path / "a.heic") as source:
        (frame,) = source.frames()
    assert isinstance(frame.image, np.ndarray)
    assert frame.image.shape == wanted.shape
    assert np.abs(frame.image.astype(int) - wanted).mean() < 4
    whole = (tmp_path / "a.heic").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no picture", b""):
        (tmp_path / "b.heic").write_bytes(damaged)
        with pytest.raises(MediaError, match=r"b\.heic"):
            open_source(tmp_path / "b.heic")


def test_a_thumbnail_of_what_it_was_does_not_stay() -> None:
    exif = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\0\0\0\x40"
    kept = as_painted(exif)
    assert kept[18:20] == b"\0\x01"
    assert kept[-4:] == bytes(4)
    for damaged in (b"", b"MM\0*", b"II*\0\xff\xff\xff\xff", exif[:12]):
        assert len(as_painted(damaged)) == len(damaged)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif", "a.avif"])
def test_an_animation_is_painted_whole(name: str, tmp_path: Path) -> None:
    frames = [Pillow.fromarray(picture(index)) for index in range(10)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=80)
    with open_source(tmp_path / name) as source:
        found = list(source.frames())
        assert [frame.time for frame in found] == [Fraction(2 * i, 25) for i in range(10)]
        assert source.notes == []
    assert np.abs(found[7].image.astype(int) - picture(7)).mean() < 6
    with pytest.raises((UsageError, OutputError), match=r"one picture|one frame"):
        _paint(tmp_path / name, tmp_path / "b.jpg")


def test_a_numbered_sequence_becomes_a_video_and_back(tmp_path: Path) -> None:
    for index in range(5):
        write_picture(tmp_path / f"f_{index + 7:03d}.png", picture(index), overwrite=False)
    reading = ReadOptions(rate=Fraction(30_000, 1001))
    with (
        open_source(tmp_path / "f_%03d.png", reading) as source,
        open_sink(tmp_path / "o.mp4", source) as sink,
    ):
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    with open_source(tmp_path / "o.mp4") as video:
        assert [f.time for f in video.frames()] == [i * Fraction(1001, 30_000) for i in range(5)]
        assert video.info.rate == Fraction(30_000, 1001)
    _paint(tmp_path / "o.mp4", tmp_path / "out")
    assert [p.name for p in find_pictures(tmp_path / "out")][:2] == [
        "frame_000001.png",
        "frame_000002.png",
    ]
    _paint(tmp_path / "o.mp4", tmp_path / "g_%d.jpg")
    assert len(find_pictures(tmp_path / "g_%d.jpg")) == 5


def test_one_picture_cannot_hold_a_video(tmp_path: Path) -> None:
    with (
        open_source(make_clip(tmp_path / "a.mp4")) as source,
        pytest.raises(UsageError, match="12 frames"),
    ):
        open_sink(tmp_path / "o.png", source)


def test_options_that_do_not_apply_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", picture(0), overwrite=False)
    clip = make_clip(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="rate"):
        open_source(clip, ReadOptions(rate=Fraction(25)))
    with pytest.raises(UsageError, match="cut"):
        open_source(tmp_path / "a.png", ReadOptions(start=Fraction(1)))
    with open_source(tmp_path / "a.png") as source:
        with pytest.raises(UsageError, match="codec"):
            open_sink(tmp_path / "o.png", source, WriteOptions(codec="libx264"))
        with pytest.raises(OutputError):
            open_sink(tmp_path / "a.mp4" / "o.png", source)
