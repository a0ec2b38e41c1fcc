"""Photographs to train on: decoded once, cached as bytes, served as random crops, with faces."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rtstyle.demo import make_clip
from rtstyle.errors import InputNotFoundError, MediaError, TrainingError, UsageError
from rtstyle.files import atomic_write
from rtstyle.frame import Image
from rtstyle.media import open_source
from rtstyle.media.images import read_picture
from rtstyle.media.options import PICTURE_SUFFIXES, VIDEO_SUFFIXES

_log = logging.getLogger("rtstyle")
_MANY = 50  # photographs take seconds to decode

SHORT_SIDE = 352  # pixels kept of every photograph
SMALLER, LARGER = (0.5, 1.0), (1.0, 3.0)  # scales of the crops
FACE = (0.1, 0.5)  # height of a face in a crop that is drawn for it, as a share of the crop's
MAX_LONG_SIDE = 3 * SHORT_SIDE  # a panorama would otherwise fill the cache
MAX_PHOTOS = 4000  # about 2 GB of memory, and of the cache
PHOTO_CACHES = "photos-*.npz"
MIN_PHOTO = 64  # pixels of its shorter side
VIDEO_FRAMES = 400  # of each video, at most, spread over it


def resize_short_side(image: Image, size: int, *, enlarge: bool = False) -> Image:
    """Scale so that the shorter side is `size` pixels; smaller pictures stay unless `enlarge`."""
    scale = size / min(image.shape[:2])
    if scale == 1 or (scale > 1 and not enlarge):
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


@dataclass(frozen=True)
class Photos:
    """Decoded photographs in one flat buffer; `names` and `skipped` are those of the files that
    gave one and that gave none. `faces` holds each photograph's in pixels, if they are known."""

    pixels: NDArray[np.uint8]  # (total,)
    offsets: NDArray[np.int64]  # (n,)
    shapes: NDArray[np.int64]  # (n, 2): height, width
    skipped: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    faces: tuple[Boxes, ...] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, i: int) -> Image:
        height, width = self.shapes[i]
        start = self.offsets[i]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)


@dataclass(frozen=True, slots=True)
class Crops:
    """A batch of square crops and how much each of their pixels belongs to a face."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    faces: NDArray[np.float32]  # (N, S, S), 0 to 1


def with_faces(photos: Photos, path: Path) -> Photos:
    """The photographs with the faces that the list `path` has of them, as `read_faces` takes it."""
    shares = read_faces(path, photos.names)
    height, width = photos.shapes.T
    sides = np.stack([width, height, width, height], 1)
    return replace(
        photos, faces=tuple(boxes * side for boxes, side in zip(shares, sides, strict=True))
    )


def load_content(paths: Sequence[Path], *, cache: Path | None = None) -> Photos:
    """The photographs of folders and the frames of videos, in this order.

    Raises as `load_photos` and `load_frames` do, and `UsageError` for what is neither.
    """
    found = []
    for path in paths:
        if path.is_dir():
            found.append(load_photos(path, cache=cache))
        elif path.suffix.lower() in VIDEO_SUFFIXES or not path.exists():
            found.append(load_frames(path))
        else:
            raise UsageError(
                f"Training content is a folder of photographs or a video; {path} is neither."
            )
    return found[0] if len(found) == 1 else _joined(found)


def load_frames(path: Path) -> Photos:
    """At most `VIDEO_FRAMES` frames of the video at `path`, spread over it.

    Raises `InputNotFoundError`, `MediaError`, and `TrainingError` for frames that are too small.
    """
    images: list[Image] = []
    with open_source(path) as source:
        step = -(-(source.info.n_frames or 0) // VIDEO_FRAMES) or 1
        for frame in source.frames():
            if frame.index % step == 0:
                images.append(_kept_size(frame.image))
            if len(images) == 2 * VIDEO_FRAMES:  # there are more than was announced
                images, step = images[::2], 2 * step
    if not images or min(images[0].shape[:2]) < MIN_PHOTO:
        raise TrainingError(
            f"{path} has no frame of {MIN_PHOTO} pixels or more a side, which training needs."
        )
    return _photos(images, [f"{path.name}#{n}" for n in range(len(images))])


def demo_photos() -> Photos:
    """The frames of the demo clip: what training takes where nobody names anything else."""
    with TemporaryDirectory() as folder:
        make_clip(clip := Path(folder) / "demo.mp4")
        return load_frames(clip)


def load_photos(
    folder: Path, *, cache: Path | None = None, without: Collection[str] = ()
) -> Photos:
    """Decode the photographs below `folder`, or take them from the folder `cache` if nothing
    changed. Files that `without` names are left out, and of more than `MAX_PHOTOS` some, evenly.

    Broken files are skipped and listed. Raises `TrainingError` when no photograph is left.
    """
    files = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in PICTURE_SUFFIXES
        and str(p.relative_to(folder)) not in without
        and p.is_file()
    )
    if not files:
        raise TrainingError(
            f"No photographs in {folder}: a folder with JPEG or PNG files is expected."
        )
    if len(files) > MAX_PHOTOS:
        _log.warning(
            "Of the %d photographs in %s, %d are used, evenly chosen.",
            len(files), folder, MAX_PHOTOS,
        )  # fmt: skip
        files = [files[i * len(files) // MAX_PHOTOS] for i in range(MAX_PHOTOS)]
    listing = "".join(f"{p.relative_to(folder)}\0{p.stat().st_size}\0" for p in files)
    key = hashlib.sha256(f"{SHORT_SIDE}\0{listing}".encode()).hexdigest()[:16]
    cached = cache / PHOTO_CACHES.replace("*", key) if cache else None
    if cached and (kept := _kept(cached)) is not None:
        return kept

    if len(files) > _MANY:
        _log.warning("Decoding %d photographs …", len(files))
    images, names, skipped = [], [], []
    for path in files:
        try:
            image = _kept_size(read_picture(path)[0])
        except (MediaError, InputNotFoundError):
            skipped.append(str(path.relative_to(folder)))
            continue
        if min(image.shape[:2]) < MIN_PHOTO:
            skipped.append(str(path.relative_to(folder)))
            continue
        images.append(image)
        names.append(str(path.relative_to(folder)))
    if not images:
        raise TrainingError(
            f"None of the {len(files)} files in {folder} is a photograph "
            f"of {MIN_PHOTO} pixels or more a side."
        )
    photos = _photos(images, names, skipped)
    if cached:
        _keep(photos, cached)
    return photos


def _kept_size(image: Image) -> Image:
    return resize_short_side(image, SHORT_SIDE)[:MAX_LONG_SIDE, :MAX_LONG_SIDE]


def _photos(images: Sequence[Image], names: Sequence[str], skipped: Sequence[str] = ()) -> Photos:
    return Photos(
        pixels=np.concatenate([image.reshape(-1) for image in images]),
        offsets=_offsets([image.size for image in images]),
        shapes=np.array([image.shape[:2] for image in images], np.int64),
        skipped=tuple(skipped),
        names=tuple(names),
    )


def _joined(several: Sequence[Photos]) -> Photos:
    shapes = np.concatenate([photos.shapes for photos in several])
    return Photos(
        pixels=np.concatenate([photos.pixels for photos in several]),
        offsets=_offsets(3 * shapes.prod(1)),
        shapes=shapes,
        skipped=tuple(name for photos in several for name in photos.skipped),
        names=tuple(name for photos in several for name in photos.names),
    )


def _offsets(sizes: ArrayLike) -> NDArray[np.int64]:
    """Where each photograph begins in the buffer of all."""
    return np.cumsum([0, *np.asarray(sizes, np.int64)])[:-1]


def _kept(path: Path) -> Photos | None:
    """What an earlier run decoded, or None where nothing is that can be read."""
    try:
        # Opened here, as numpy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file) as z:
            return Photos(
                z["pixels"], z["offsets"], z["shapes"],
                tuple(map(str, z["skipped"])), tuple(map(str, z["names"])),
            )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, LookupError, BadZipFile) as error:
        _log.info("%s is damaged and made again: %s", path, error)
        return None


def _keep(photos: Photos, path: Path) -> None:
    """Spare the next run the decoding; a disk that does not take it is no reason to stop."""
    try:
        # numpy adds a suffix to a name, not to a file.
        with atomic_write(path, parents=True) as part, part.open("wb") as file:
            np.savez(
                file, pixels=photos.pixels, offsets=photos.offsets, shapes=photos.shapes,
                skipped=np.array(photos.skipped, dtype=np.str_),
                names=np.array(photos.names, dtype=np.str_),
            )  # fmt: skip
        _log.warning(
            "The decoded photographs are kept in %s (%.0f MB) for when this goes on.",
            path, path.stat().st_size / 1e6,
        )  # fmt: skip
    except OSError as error:
        _log.info("Nothing is kept in %s: %s", path.parent, error.strerror or error)


def random_crops(
    photos: Photos, *, size: int, batch: int, rng: np.random.Generator, portraits: float = 0.0
) -> Crops:
    """A batch of square crops, half at a scale of 0.5–1 and half at 1–3, flipped half of the time.

    Enlarged ones are smooth, as the frames of a video are, and teach to paint a sky: a net that has
    met nothing but sharp pictures fills one with rows of dots. One crop in ten is made flat, dark
    and noisy, like a webcam in the evening: instance norm turns such frames into blobs unless it
    has met them. The share `portraits` of the crops is drawn around a face instead, as large in the
    crop as a webcam shows it; the photographs must have faces then.
    """
    out = Crops(
        np.empty((batch, size, size, 3), np.uint8), np.zeros((batch, size, size), np.float32)
    )
    for n in range(batch):
        if portraits and rng.random() < portraits:
            i, y, x, side = _around_a_face(photos, rng)
        else:
            i, y, x, side = _anywhere(photos, size, rng)
        crop = photos[i][y : y + side, x : x + side]
        method = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=method), np.uint8)
        faces = np.zeros((size, size), np.float32)
        if photos.faces and len(boxes := photos.faces[i]):
            faces = face_map((boxes - (x, y, 0, 0)) * (size / side), size)
        if rng.random() < 0.5:
            crop, faces = crop[:, ::-1], faces[:, ::-1]
        if rng.random() < 0.1:
            crop = _dim(crop, rng)
        out.pixels[n], out.faces[n] = crop, faces
    return out


def _anywhere(photos: Photos, size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random square: the photograph's number, top, left and side."""
    i = int(rng.integers(len(photos)))
    height, width = (int(side) for side in photos.shapes[i])
    low, high = SMALLER if rng.random() < 0.5 else LARGER
    side = min(round(size / rng.uniform(low, high)), height, width)
    return i, int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side


def _around_a_face(photos: Photos, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random square with the middle of a random face in it."""
    owners = [i for i, boxes in enumerate(photos.faces) if len(boxes)]
    i = owners[int(rng.integers(len(owners)))]
    left, top, face_width, face_height = photos.faces[i][int(rng.integers(len(photos.faces[i])))]
    share = np.exp(rng.uniform(*np.log(FACE)))
    side = min(max(round(face_height / share), 32), *(int(side) for side in photos.shapes[i]))
    starts = []
    for middle, length in zip(
        (top + face_height / 2, left + face_width / 2), photos.shapes[i], strict=True
    ):
        start = round(middle - side * rng.uniform(0.25, 0.75))
        starts.append(min(max(start, 0), int(length) - side))
    return i, starts[0], starts[1], side


def _dim(crop: Image, rng: np.random.Generator) -> Image:
    contrast, level = rng.uniform(0.1, 0.6), rng.uniform(0, 160)
    noise = rng.normal(0, rng.uniform(0, 5), crop.shape)
    return np.clip(level + contrast * crop + noise, 0, 255).astype(np.uint8)


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float in [0, 1], channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return x.permute(0, 3, 1, 2).float().div(255)


COLUMNS = ("left", "top", "width", "height")
Boxes = NDArray[np.float64]  # (faces, 4): left, top, width, height
_AXES = (0.65, 0.62)  # half axes of the ellipse around a face, as shares of its box
_EDGE = 0.3  # of the half axes, over which it fades out


def read_faces(path: Path, names: Sequence[str]) -> tuple[Boxes, ...]:
    """The boxes of each photograph as shares of its sides, one array for every name in `names`.

    `path` is a CSV file with the columns file, left, top, width, height. Raises
    `InputNotFoundError` when there is none and `TrainingError` when it is something else.
    """
    if not path.is_file():
        raise InputNotFoundError(f"There is no list of faces at {path}; a CSV file is expected.")
    boxes: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                boxes.setdefault(row["file"], []).append([float(row[name]) for name in COLUMNS])
    except (OSError, UnicodeError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise TrainingError(
            f"{path} is no list of faces: a CSV file with the columns file, {', '.join(COLUMNS)} "
            f"is expected ({type(error).__name__}: {error})."
        ) from error
    return tuple(np.array(boxes.get(name, [])).reshape(-1, 4) for name in names)


def face_map(boxes: Boxes, size: int) -> NDArray[np.float32]:
    """How much each pixel belongs to a face: 1 inside the ellipses of `boxes`, which are in pixels,
    fading to 0 around them. (size, size)."""
    at = np.arange(size, dtype=np.float32) + 0.5
    best = np.zeros((size, size), np.float32)
    for left, top, width, height in boxes:
        x = (at - (left + width / 2)) / (_AXES[0] * width)
        y = (at - (top + height / 2)) / (_AXES[1] * height)
        distance = np.hypot(y[:, None], x[None, :])
        np.maximum(best, ((1 + _EDGE - distance) / _EDGE).clip(0, 1), out=best)
    return best
