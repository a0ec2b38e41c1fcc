"""The moving picture of the README: a person before a camera, and one style after the other wiped
over them. It was made by

    python -m export clip intel_asl_walk.mkv -o docs/painted.webp --crop 440x330+90+60
        --style starry_night --style sunflowers --style great_wave
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rtstyle.engines import open_engine
from rtstyle.errors import MediaError, UsageError
from rtstyle.files import write_output
from rtstyle.frame import Frame, Image
from rtstyle.image import Look, finish, prepare
from rtstyle.media import open_source
from rtstyle.steady import SteadyFilter
from rtstyle.style.parse import find_style

Crop = tuple[int, int, int, int]  # width, height, left, top
_LINE = 2  # pixels between what was and what comes


def write_clip(
    source: str, output: Path, *, styles: Sequence[str], crop: Crop, width: int, fps: int
) -> None:
    """Paint the part `crop` of a video by each of `styles` in turn, at `width` pixels.

    Each look, the original first, is wiped over the one before it. Raises `MediaError`,
    `StyleNotFoundError` and `OutputError`.
    """
    frames = _frames(source, crop, width, fps)
    looks = [[frame.image for frame in frames], *(_painted(frames, style) for style in styles)]
    looks.append(looks[0])  # ends as it began
    pictures = [
        _wiped([look[n] for look in looks], n / (len(frames) - 1)) for n in range(len(frames))
    ]
    write_output(output, _webp(pictures, fps), overwrite=True)


def parse_crop(text: str) -> Crop:
    """ "440x330+90+60" → (440, 330, 90, 60). Raises `UsageError`."""
    found = re.fullmatch(r"(\d+)x(\d+)\+(\d+)\+(\d+)", text)
    if found is None or "0" in found.groups()[:2]:
        raise UsageError(f"A part of the picture is written like 440x330+90+60, not {text!r}.")
    across, down, left, top = map(int, found.groups())
    return across, down, left, top


def _frames(source: str, crop: Crop, width: int, fps: int) -> list[Frame]:
    across, down, left, top = crop
    size = (width, round(width * down / across))
    frames: list[Frame] = []
    with open_source(source) as opened:
        if left + across > opened.info.width or top + down > opened.info.height:
            raise MediaError(
                f"The part {across}x{down}+{left}+{top} does not lie in {source}, which has "
                f"{opened.info.width}×{opened.info.height} pixels."
            )
        for frame in opened.frames():
            if frame.time * fps < len(frames):
                continue
            part = frame.image[top : top + down, left : left + across]
            scaled = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            frames.append(Frame(np.asarray(scaled, np.uint8), frame.time, len(frames)))
    if len(frames) < 2:
        raise MediaError(f"{source} has too few frames for a clip of {fps} a second.")
    return frames


def _painted(frames: Sequence[Frame], name: str) -> list[Image]:
    style = find_style(name)
    steady = SteadyFilter(1.0)
    painted = []
    with open_engine("auto", style.model) as engine:
        for frame in frames:
            batch = prepare(frame.image, model=style.model, look=Look())
            stylized = engine.submit(batch, style.vector, 1.0).result()
            picture = finish(stylized, frame.image, model=style.model, look=Look())
            painted.append(steady(picture, frame))
    return painted


def _wiped(looks: Sequence[Image], share: float) -> Image:
    """The picture at `share` of the clip: each look stands, then the next comes from the left."""
    place = min(share, 1 - 1e-9) * (len(looks) - 1)
    before, after = looks[int(place)], looks[int(place) + 1]
    moved = np.clip((place % 1 - 0.35) / 0.65, 0, 1)
    edge = round(moved * before.shape[1])
    picture = before.copy()
    picture[:, :edge] = after[:, :edge]
    if 0 < edge < before.shape[1]:
        picture[:, max(0, edge - _LINE) : edge] = 255
    return picture


def _webp(pictures: Sequence[Image], fps: int) -> bytes:
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) for picture in pictures]
    animation.durations = [round(1000 / fps)] * len(pictures)
    quality = [cv2.IMWRITE_WEBP_QUALITY, 75]
    _, data = cv2.imencodeanimation(".webp", animation, quality)
    return bytes(data)
