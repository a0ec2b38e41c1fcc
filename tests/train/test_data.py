from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rtstyle.errors import InputNotFoundError, MediaError, TrainingError, UsageError
from rtstyle.media.images import read_picture
from rtstyle.train import data
from rtstyle.train.data import demo_photos, load_content, load_photos, random_crops, with_faces
from rtstyle.train.targets import AnyPainting
from tests.media.clips import Clip, make_clip
from tests.train.materials import make_painting, make_photos


def test_broken_photographs_are_skipped_and_listed(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    (folder / "tiny.png").write_bytes((folder / "photo0.png").read_bytes()[:40])
    photos = load_photos(folder, cache=tmp_path / "cache")
    assert len(photos) == 3
    assert photos.skipped == ("broken.jpg", "tiny.png")
    again = load_photos(folder, cache=tmp_path / "cache")  # this time from the cache
    assert again.skipped == photos.skipped
    assert (again.pixels == photos.pixels).all()
    assert load_photos(folder, without=["photo1.png"]).names == ("photo0.png", "photo2.png")
    assert again.names == photos.names == ("photo0.png", "photo1.png", "photo2.png")


def test_videos_are_content_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_photos(tmp_path / "photos")
    clip = make_clip(tmp_path / "a.mp4", Clip(range(0, 60 * 512, 512), width=128, height=96))
    monkeypatch.setattr(data, "VIDEO_FRAMES", 20)
    both = load_content([folder, clip, folder])
    assert len(both) == 3 + 20 + 3
    assert both.names[2:4] == ("photo2.png", "a.mp4#0")
    assert both[3].shape == (96, 128, 3)
    assert (both[len(both) - 1] == load_photos(folder)[2]).all()
    assert 20 <= len(demo_photos()) <= 40


def test_what_is_no_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film")
    (tmp_path / "bad.mp4").write_text("no film")
    small = make_clip(tmp_path / "small.mp4", Clip(range(0, 5 * 512, 512), width=32, height=32))
    for name, error, sentence in (
        ("notes.txt", UsageError, "is neither"),
        ("bad.mp4", MediaError, "bad.mp4"),
        ("none.mp4", InputNotFoundError, "none.mp4"),
        (small.name, TrainingError, "64 pixels"),
    ):
        with pytest.raises(error, match=sentence):
            load_content([tmp_path / name])


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04 nothing more", b"no archive"])
def test_a_damaged_cache_is_made_again(damaged: bytes, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    photos = load_photos(folder, cache=tmp_path / "cache")
    (cached,) = (tmp_path / "cache").iterdir()
    whole = cached.stat().st_size
    cached.write_bytes(damaged)
    assert (load_photos(folder, cache=tmp_path / "cache").pixels == photos.pixels).all()
    assert cached.stat().st_size == whole


def test_a_full_disk_costs_the_cache_alone(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = make_photos(tmp_path / "photos")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        photos = load_photos(folder, cache=tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(photos) == 3
    assert not list((tmp_path / "cache").iterdir())


def test_crops_have_the_size_asked_for_whatever_the_photograph(tmp_path: Path) -> None:
    for side in (64, 400):
        photos = load_photos(make_photos(tmp_path / f"photos{side}", side=side))
        crops = random_crops(photos, size=160, batch=20, rng=np.random.default_rng(0)).pixels
        assert crops.shape == (20, 160, 160, 3)
    assert (
        len({crop.tobytes() for crop in crops}) == 20
    )  # there is room to choose in the large ones


def test_half_of_the_crops_are_enlarged_and_so_as_smooth_as_a_video(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "noise.png"), noise)
    crops = random_crops(
        load_photos(tmp_path / "photos"), size=64, batch=100, rng=np.random.default_rng(0)
    ).pixels.astype(float)
    steps = np.abs(np.diff(crops, axis=2)).mean((1, 2, 3)) / crops.std((1, 2, 3))
    assert 30 < (steps < 0.8).sum() < 70  # of white noise it is 1.1


def test_portraits_are_crops_around_a_face_that_know_where_it_is(tmp_path: Path) -> None:
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[90:130, 200:240] = 255  # the face
    cv2.imwrite(str(folder / "a.png"), picture)
    cv2.imwrite(str(folder / "b.png"), np.zeros_like(picture))
    (tmp_path / "faces.csv").write_text(
        "file,left,top,width,height\na.png,0.66667,0.45,0.13333,0.2\nelsewhere.png,0,0,1,1\n"
    )
    photos = with_faces(load_photos(folder), tmp_path / "faces.csv")
    assert [len(boxes) for boxes in photos.faces] == [1, 0]
    crops = random_crops(photos, size=64, batch=40, rng=rng, portraits=1.0)
    for pixels, faces in zip(crops.pixels, crops.faces, strict=True):
        bright = pixels[..., 0] > (int(pixels.min()) + int(pixels.max())) / 2
        assert 0.005 < bright.mean() < 0.4
        assert faces[bright].mean() > 0.9
        assert faces[~bright].mean() < 0.3
    anywhere = random_crops(photos, size=64, batch=40, rng=rng)
    assert 10 < sum(not faces.any() for faces in anywhere.faces) < 40


def test_a_list_of_faces_that_is_none_is_refused(tmp_path: Path) -> None:
    photos = load_photos(make_photos(tmp_path / "photos"))
    with pytest.raises(InputNotFoundError, match="no list of faces"):
        with_faces(photos, tmp_path / "faces.csv")
    for text in ("file,left\na.png,0\n", "file,left,top,width,height\na.png,0,0,wide,1\n"):
        (tmp_path / "faces.csv").write_text(text)
        with pytest.raises(TrainingError, match="is no list of faces"):
            with_faces(photos, tmp_path / "faces.csv")


def test_any_painting_gives_varied_styles_and_sometimes_the_photograph_itself(
    tmp_path: Path,
) -> None:
    photos = load_photos(make_photos(tmp_path / "photos", side=300))
    painting = read_picture(make_painting(tmp_path / "painting.png", side=300))[0]
    styles = AnyPainting(
        [painting], photos,
        encode=lambda x: x.mean((2, 3)), describe=lambda x: {"mean": x.mean((2, 3))},
        device=torch.device("cpu"),
    )  # fmt: skip
    photo = torch.full((40, 3, 64, 64), 0.123)
    drawn = styles.draw(np.random.default_rng(1), photo)
    assert drawn.vector is not None
    assert drawn.vector.shape == (40, 3)
    ((weight, target),) = drawn.targets
    assert torch.equal(weight, torch.ones(40))
    assert torch.equal(target["mean"], drawn.vector)
    own = (drawn.vector - 0.123).abs().amax(1) < 1e-6
    assert 0 < own.sum() < 20
    assert len({tuple(row.tolist()) for row in drawn.vector[~own]}) == int((~own).sum())


def test_the_cache_is_bounded_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rtstyle.train.data.MAX_PHOTOS", 3)
    folder = make_photos(tmp_path / "photos", count=7)
    photos = load_photos(folder, cache=tmp_path / "cache")
    assert photos.names == ("photo0.png", "photo2.png", "photo4.png")
    assert "Of the 7 photographs" in caplog.text
    (cached,) = (tmp_path / "cache").iterdir()
    assert f"kept in {cached} (0 MB) for when this goes on" in caplog.text
