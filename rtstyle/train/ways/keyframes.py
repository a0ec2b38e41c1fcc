"""A few painted frames of a video: a net that paints the rest of it, or the live camera, alike.

Texler et al. 2020, "Interactive Video Stylization Using Few-Shot Patch-Based Training": random
small patches of the painted frames, of which there are thousands, teach the net; L1, adversarial
and VGG losses. Their optional guide of moving Gaussians is left out; the stability term, which
theirs has not, works on other frames of the video.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.errors import InputNotFoundError, TrainingError, UsageError
from rtstyle.frame import Image
from rtstyle.media import open_source
from rtstyle.media.images import read_picture
from rtstyle.train.data import resize_short_side, to_float
from rtstyle.train.preview import contact_sheet, stylize
from rtstyle.train.ways import Progress, Terms
from rtstyle.train.ways.pairs import MAX_SHORT_SIDE, Pair, Pairs, crop_of

_SAMPLE = 48  # other frames that are kept
_LOOKED_AT = 3000  # frames, unless a keyframe is further on
_THUMBNAIL = (64, 36)
_ALIKE = 12.0  # grey levels between the thumbnails of a frame and of its own compressed copy
_SHOWN, _SHOWN_SHORT_SIDE = 4, 256


class Keyframe(NamedTuple):
    """A frame, by its number from 0 on or as a picture of it; what was painted of it; and where
    that counts, white in a picture, if not everywhere."""

    frame: int | Path
    painted: Path
    mask: Path | None = None

    @classmethod
    def from_text(cls, text: str) -> Keyframe:
        """The keyframe that FRAME=PAINTED or FRAME=PAINTED=MASK names. FRAME is a number or a
        picture; of a picture that does not exist, the number in its name counts."""
        frame, *pictures = text.split("=")
        if len(pictures) not in (1, 2) or not all((frame, *pictures)):
            raise UsageError(
                f"A keyframe is written as FRAME=PAINTED.png or FRAME=PAINTED.png=MASK.png, not "
                f"{text!r}."
            )
        number = re.search(r"(\d+)\D*$", frame)
        is_picture = Path(frame).is_file()
        if not is_picture and number is None:
            raise UsageError(f"The keyframe {frame} is no picture and has no number in its name.")
        which = Path(frame) if is_picture or number is None else int(number[1])
        return cls(which, *map(Path, pictures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframes:
    """A video and some painted frames of it."""

    video: Path
    frames: tuple[Keyframe, ...]

    def open(self, folder: Path, progress: Progress) -> FewShot:
        """Read the video once. Raises `TrainingError` when a keyframe is not in it or what was
        painted has another size, and what reading the files raises."""
        painted = [read_picture(k.painted)[0] for k in self.frames]
        masks = [read_picture(k.mask)[0] if k.mask else None for k in self.frames]
        wanted = [k.frame if isinstance(k.frame, int) else read_picture(k.frame)[0]
                  for k in self.frames]  # fmt: skip
        if not self.video.exists():
            raise InputNotFoundError(f"There is no video {self.video}; check its name.")
        found, sample = _look_through(self.video, wanted, progress)
        pairs = []
        for keyframe, before, after, mask in zip(self.frames, found, painted, masks, strict=True):
            height, width = before.shape[:2]
            for path, picture in ((keyframe.painted, after), (keyframe.mask, mask)):
                if picture is not None and picture.shape != before.shape:
                    raise TrainingError(
                        f"{path} is {picture.shape[1]}×{picture.shape[0]} pixels, but the video is "
                        f"{width}×{height}; paint a frame at the video's own size."
                    )
            both = [resize_short_side(picture, MAX_SHORT_SIDE) for picture in (before, after)]
            inside = None if mask is None else resize_short_side(mask, MAX_SHORT_SIDE).max(2) > 127
            if inside is not None and not inside.any():
                raise TrainingError(f"The mask {keyframe.mask} is black everywhere.")
            pairs.append(Pair(both[0], both[1], inside))
        return FewShot(pairs, sample)


class FewShot(Pairs):
    """Patches of the painted frames; other frames of the video keep it steady and are shown."""

    def __init__(self, pairs: Sequence[Pair], frames: Sequence[Image]) -> None:
        super().__init__(pairs)
        self.taught = self.shown = list(pairs)
        self.frames = list(frames)

    def _stability(self, before: Tensor, canvas: Tensor, painted: Tensor) -> Terms:
        trainer, size = self.trainer, before.shape[-1]
        if not trainer.is_steadied():
            return {}
        chosen = trainer.rng.integers(len(self.frames), size=max(1, len(before) // 4))
        crops = [crop_of(Pair(self.frames[i], self.frames[i]), size, trainer.rng).before
                 for i in chosen]  # fmt: skip
        photo = to_float(np.stack(crops), trainer.device)
        return trainer.stability(photo, canvas, trainer.paint(photo + canvas))

    def sheet(self, net: nn.Module) -> Image:
        """The painted frames beside the net's, then other frames beside the net's."""
        stride = int(getattr(net, "stride", 1))
        chosen = np.linspace(0, len(self.frames) - 1, min(_SHOWN, len(self.frames))).astype(int)

        def whole(picture: Image) -> Image:
            height, width = (side // stride * stride for side in picture.shape[:2])
            return np.ascontiguousarray(picture[:height, :width])

        def shown(picture: Image) -> NDArray[np.uint8]:
            return resize_short_side(whole(picture), _SHOWN_SHORT_SIDE)[None]

        def painted(picture: Image) -> NDArray[np.uint8]:
            return shown(stylize(net, whole(picture)[None])[0])

        rows = [np.concatenate([shown(p.after), painted(p.before)]) for p in self.taught]
        rows += [np.concatenate([shown(self.frames[i]), painted(self.frames[i])]) for i in chosen]
        return contact_sheet(rows)

    def provenance(self) -> dict[str, Any]:
        return {"keyframes": len(self.taught)}


def _look_through(
    video: Path, wanted: Sequence[int | Image], progress: Progress
) -> tuple[list[Image], list[Image]]:
    """The frames that are `wanted`, by number or by a picture of each, and a sample of the others,
    evenly spread. Raises `TrainingError` when one is not there."""
    found: list[Image | None] = [None] * len(wanted)
    best = [np.inf] * len(wanted)
    thumbnails = [None if isinstance(w, int) else _thumbnail(w) for w in wanted]
    last = max((w for w in wanted if isinstance(w, int)), default=0)
    sample: list[Image] = []
    step, count = 1, 0
    with open_source(video) as source:
        for frame in source.frames():
            image = frame.download().image if hasattr(frame, "download") else frame.image
            for i, (which, thumbnail) in enumerate(zip(wanted, thumbnails, strict=True)):
                if thumbnail is None:
                    if which == count:
                        found[i] = image
                elif (far := float(np.abs(_thumbnail(image) - thumbnail).mean())) < best[i]:
                    best[i], found[i] = far, image
            if count % step == 0:
                sample.append(resize_short_side(image, MAX_SHORT_SIDE))
                if len(sample) > _SAMPLE:
                    sample, step = sample[::2], 2 * step
            count += 1
            progress(count, source.info.n_frames, "looking through the video")
            if count > max(_LOOKED_AT, last):
                break
    frames: list[Image] = []
    for which, image, far in zip(wanted, found, best, strict=True):
        if image is None:
            raise TrainingError(
                f"The keyframe {which} is not in {video}, whose {count} frames are numbered from 0."
            )
        if not isinstance(which, int):
            if which.shape != image.shape:
                (h, w), (height, width) = which.shape[:2], image.shape[:2]
                raise TrainingError(
                    f"A keyframe is {w}×{h} pixels, but {video} is {width}×{height}; take the "
                    "frame out of that video as it is."
                )
            if far > _ALIKE:
                raise TrainingError(
                    f"A keyframe is no frame of {video}: the nearest one differs by {far:.0f} grey "
                    "levels; name the video that it was taken from."
                )
            image = which
        frames.append(image)
    return frames, sample


def _thumbnail(picture: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)
