"""Labelled pictures of people to train a net of masks on, and the teacher that labels them.

Crops of openly licensed photographs and frames of clips, people of one in front of another; the
teacher is MediaPipe's selfie segmentation. Faces are ellipses in the boxes of `faces.csv`.
`HELD_OUT`, and photographs of tier B, are never drawn.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import InputNotFoundError
from rtstyle.masks import HEIGHT, WIDTH, fitted
from rtstyle.media.images import read_picture

HELD_OUT = ("intel_asl_brother.mkv", "sam2_juggle.mp4", "moviepy_chaplin.mp4")
_LEFT_OUT = ("hdr", "hlg", "rot")  # in names of clips whose frames are stored otherwise than seen
_PEOPLE = 0.03  # share of a picture from where on there is a person in it
_CERTAIN = 0.7  # of what may be a person: the share that surely is one, if there is one
_WHOLE = 0.3  # of the samples: whole pictures as live runs give them, not crops
_FRAMES = 40  # of a clip

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Mask = NDArray[np.float32]  # (H, W), 0 to 1
Label = Callable[[Picture], Mask]  # of a picture of the net's size


class Teacher:
    """MediaPipe's selfie segmentation, (144, 256, 3) RGB → mask."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort  # comes with an extra alone

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name

    def __call__(self, picture: Picture) -> Mask:
        """The mask of one picture of its size."""
        given = {self._name: picture[None].astype(np.float32) / 255}
        segments = np.asarray(self._session.run(None, given)[0], np.float32)[0]
        if segments.shape[-1] == 1:
            return np.asarray(segments[..., 0], np.float32)
        return np.asarray(1 / (1 + np.exp(segments[..., 0] - segments[..., 1])), np.float32)


def frames_of(path: Path, n_frames: int | None = None) -> Iterator[Picture]:
    """Frames of a clip, all or so many evenly spread, at a height of 240."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        total = stream.frames or 300
        every = 1 if n_frames is None else max(1, total // n_frames)
        for index, frame in enumerate(container.decode(stream)):
            if index % every == 0:
                width = round(frame.width * 240 / frame.height / 2) * 2
                scaled = frame.to_ndarray(format="rgb24", width=width, height=240)
                yield np.asarray(scaled, np.uint8)


@dataclass(frozen=True)
class Example:
    """A picture, and where its faces are: (n, 4) left, top, width, height as shares; None where
    nobody looked."""

    picture: Picture
    faces: NDArray[np.float32] | None = None
    of_clip: bool = False

    def face_mask(self) -> Mask:
        """Faces as ellipses."""
        height, width = self.picture.shape[:2]
        mask = np.zeros((height, width), np.float32)
        for left, top, wide, tall in self.faces if self.faces is not None else ():
            centre = round((left + wide / 2) * width), round((top + tall / 2) * height)
            axes = max(1, round(wide * width * 0.55)), max(1, round(tall * height * 0.55))
            cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
        return mask


def read_material(data: Path) -> list[Example]:
    """Tier A's photographs and frames of clips, without what is held out. Raises
    `InputNotFoundError`."""
    if not (sources := data / "SOURCES.csv").is_file():
        raise InputNotFoundError(f"There is no {sources}, which lists the pictures to learn from.")
    boxes: dict[str, list[list[float]]] = {}
    with (Path(__file__).parent / "faces.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            box = [float(row[side]) for side in ("left", "top", "width", "height")]
            boxes.setdefault(row["file"], []).append(box)
    unlooked = (Path(__file__).parents[1] / "benchmarks" / "heldout.txt").read_text().split()
    found: list[Example] = []
    with sources.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            path = data / row["file"]
            if row["tier"] != "A" or path.name in HELD_OUT:
                continue
            if row["kind"] == "content":
                picture, _ = read_picture(path)
                faces = np.array(boxes.get(path.name, []), np.float32).reshape(-1, 4)
                is_known = not any(path.name.startswith(Path(one).stem) for one in unlooked)
                found.append(Example(picture, faces if is_known else None))
            elif row["kind"] == "video" and not any(word in path.name for word in _LEFT_OUT):
                found += [Example(picture, of_clip=True) for picture in frames_of(path, _FRAMES)]
    return found


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture (144, 256, 3), its masks of people and faces, and whether faces are known."""

    picture: Picture
    person: Mask
    face: Mask
    has_faces: bool


class Drawing:
    """Draws labelled samples from `examples` at random."""

    def __init__(self, examples: list[Example], teacher: Label, seed: int) -> None:
        self._random, self._teacher = np.random.default_rng(seed), teacher
        self._examples = examples
        masks = [_of_whole(example.picture, teacher) for example in examples]
        n_faces = [0 if example.faces is None else len(example.faces) for example in examples]
        self._people = [i for i, mask in enumerate(masks) if holds_person(mask)]
        photos = [i for i in self._people if not examples[i].of_clip]
        self._people += photos * 4  # frames of a clip are much alike
        people = set(self._people)
        self._nobody = [i for i in range(len(masks)) if i not in people]
        self._faces = [i for i, n in enumerate(n_faces) if n]
        self._masks = {i: masks[i] for i in self._people}

    def sample(self) -> Sample:
        """A crop of a picture, or of a person before another one, labelled."""
        draw, chance = self._random, self._random.random()
        pools = self._people, self._faces, self._nobody
        pool = pools[0] if chance < 0.6 else pools[1] if chance < 0.82 else pools[2]
        index = int(draw.choice(pool or max(pools, key=len)))
        example = self._examples[index]
        picture, faces = example.picture, example.face_mask()
        if index in self._masks and self._nobody and draw.random() < 0.35:
            mask = self._masks[index]
            picture = self._in_front(picture, np.maximum(mask, _resized(faces, mask)))
        if draw.random() < _WHOLE:
            clean, _ = fitted(picture)
            face, _ = fitted(np.asarray(faces * 255, np.uint8))
            faces = np.asarray(face, np.float32) / np.float32(255)
        else:
            to_source = self._crop(*picture.shape[:2])
            clean = np.asarray(_warped(picture, to_source), np.uint8)
            faces = np.asarray(_warped(faces, to_source), np.float32)
        return Sample(
            clean,
            self._teacher(clean),
            faces,
            example.faces is not None,
        )

    def _in_front(self, person: Picture, mask: Mask) -> Picture:
        """The person before another background."""
        height, width = person.shape[:2]
        back = self._examples[int(self._random.choice(self._nobody))].picture
        back = np.asarray(cv2.resize(back, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        alpha = cv2.resize(mask, (width, height))[..., None]
        return np.asarray(person * alpha + back * (1 - alpha), np.uint8)

    def _crop(self, height: int, width: int) -> NDArray[np.float64]:
        """From places in the sample to those in a picture of that size, (2, 3)."""
        draw = self._random
        aspect, share = draw.uniform(1.0, 2.1), draw.uniform(0.5, 1.0)
        tall = min(height, width / aspect) * share
        wide = tall * aspect
        x, y = draw.uniform(0, width - wide), draw.uniform(0, height - tall)
        angle = math.radians(draw.normal(0, 5))
        flip = -1 if draw.random() < 0.5 else 1
        scale_x, scale_y = wide / WIDTH, tall / HEIGHT
        cos, sin = math.cos(angle), math.sin(angle)
        turned = np.array(
            [[flip * scale_x * cos, -scale_y * sin], [flip * scale_x * sin, scale_y * cos]]
        )
        centre = np.array([x + wide / 2, y + tall / 2]) - turned @ (WIDTH / 2, HEIGHT / 2)
        return np.concatenate([turned, centre[:, None]], 1)


def _of_whole(picture: Picture, teacher: Label) -> Mask:
    """The teacher's mask of a whole picture, without the borders."""
    given, columns = fitted(picture)
    return teacher(given)[:, columns]


def holds_person(mask: Mask) -> bool:
    """Whether a mask of the teacher surely has a person in it."""
    sure, possible = (mask > 0.9).mean(), (mask > 0.1).mean()
    return bool(mask.mean() > _PEOPLE and sure > _CERTAIN * possible)


def _resized(mask: Mask, like: Mask) -> Mask:
    size = like.shape[1], like.shape[0]
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.float32)


def _warped(picture: NDArray[Any], to_source: NDArray[np.float64]) -> NDArray[Any]:
    shrinks = math.hypot(*to_source[:, 1])
    if shrinks > 1.6 and picture.ndim == 3:
        picture = cv2.blur(picture, (2, 2))
    return cv2.warpAffine(
        picture, to_source, (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Samples:
    """Many samples in memory: `pictures` uint8 (N, 144, 256, 3), `masks` uint8 (N, 2, 144, 256) of
    people and faces, `has_faces` bool (N,), where faces are known."""

    pictures: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    has_faces: NDArray[np.bool_]

    @classmethod
    def draw(cls, drawing: Drawing, n_samples: int) -> Samples:
        """So many samples; a net sees each several times, which spares the teacher."""
        pictures = np.empty((n_samples, HEIGHT, WIDTH, 3), np.uint8)
        masks = np.empty((n_samples, 2, HEIGHT, WIDTH), np.uint8)
        has_faces = np.empty(n_samples, np.bool_)
        for i in range(n_samples):
            sample = drawing.sample()
            pictures[i], has_faces[i] = sample.picture, sample.has_faces
            masks[i] = np.stack([sample.person, sample.face]) * 255 + 0.5
        return cls(pictures, masks, has_faces)

    def save(self, folder: Path) -> None:
        """Write them for `load`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("pictures", "masks", "has_faces"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Samples:
        """What `save` wrote. Raises `FileNotFoundError`."""
        names = "pictures", "masks", "has_faces"
        return cls(*(np.load(folder / f"{name}.npy") for name in names))

    def batch(self, random: np.random.Generator, size: int) -> Batch:
        """Samples drawn at random, half of them mirrored."""
        chosen = random.integers(len(self.pictures), size=size)
        pictures, masks = self.pictures[chosen], self.masks[chosen]
        mirrored = random.random(size) < 0.5
        pictures[mirrored] = pictures[mirrored, :, ::-1]
        masks[mirrored] = masks[mirrored, ..., ::-1]
        clear = np.stack([_toned(picture, random) for picture in pictures])
        seen = clear.copy()
        for picture in seen[: size // 2]:
            picture[:] = _spoilt(picture, random)
        return Batch(seen, clear, masks, self.has_faces[chosen])


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as a webcam has them, `seen`, and as they were in good light, `clear`, both uint8
    (N, 144, 256, 3), which are alike in the second half; masks and `has_faces` as in `Samples`."""

    seen: NDArray[np.uint8]
    clear: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    has_faces: NDArray[np.bool_]


def _toned(picture: Picture, random: np.random.Generator) -> Picture:
    """Another light and white balance."""
    tones = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gains = np.exp(random.normal(0, 0.1, 3)).astype(np.float32)
    table = tones ** np.float32(np.exp(random.normal(0, 0.15))) * gains * 255
    toned = cv2.LUT(picture, np.clip(table + 0.5, 0, 255).astype(np.uint8)[None])
    return np.asarray(toned, np.uint8)


def _spoilt(picture: Picture, random: np.random.Generator) -> Picture:
    """Dim light, no colours, blur and noise, each with some chance."""
    if random.random() < 0.2:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    if random.random() < 0.5:
        picture = np.asarray(picture * random.uniform(0.25, 1), np.uint8)
    if random.random() < 0.3:
        blurred = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.5))
        picture = np.asarray(blurred, np.uint8)
    noise = np.empty(picture.shape, np.int16)
    cv2.setRNGSeed(int(random.integers(1 << 31)))
    cv2.randn(noise, np.zeros(1), np.full(1, abs(random.normal(0, 8))))
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)
