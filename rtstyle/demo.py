"""A short clip with sound, made of three free photographs, for those who have no file at hand."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from importlib import resources
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtstyle.frame import Image
from rtstyle.media.images import read_picture

WIDTH, HEIGHT, FPS = 640, 360, 24
SECONDS_EACH, FADE = 2.5, 0.5  # of every photograph, and of the cross-fade into the next
SAMPLE_RATE = 48_000
FOCI = ((0.42, 0.25), (0.5, 0.4), (0.45, 0.5))  # what each photograph shows, as (x, y) shares
CHORDS_HZ = ((220.0, 277.18, 329.63), (196.0, 246.94, 293.66), (174.61, 220.0, 261.63))


def sample_photos() -> list[Image]:
    """The photographs that come with rtstyle, each (H, W, 3) RGB."""
    folder = Path(str(resources.files("rtstyle") / "samples"))
    return [read_picture(path)[0] for path in sorted(folder.glob("*.jpg"))]


def make_clip(path: Path) -> None:
    """Write the demo clip: 640×360, 24 fps, seven seconds, with a quiet chord a photograph."""
    photos = sample_photos()
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "16", "preset": "veryfast"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        n_frames = 0
        for n_frames, image in enumerate(_pictures(photos), start=1):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = n_frames - 1, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = _chords(len(photos), n_frames / FPS)
        frame_a = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame_a.sample_rate, frame_a.pts = SAMPLE_RATE, 0
        frame_a.time_base = Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(frame_a))
        container.mux(audio.encode(None))


def _pictures(photos: list[Image]) -> Iterator[Image]:
    """A slow zoom over every photograph, faded into the next."""
    each, fade = round(SECONDS_EACH * FPS), round(FADE * FPS)
    for n, photo in enumerate(photos):
        last = n == len(photos) - 1
        for i in range(each):
            image = _zoomed(photo, FOCI[n], (i + (fade if n else 0)) / (each + fade))
            into_next = i - (each - fade)
            if into_next >= 0 and not last:
                following = _zoomed(photos[n + 1], FOCI[n + 1], into_next / (each + fade))
                weight = (into_next + 1) / (fade + 1)
                image = np.asarray(
                    cv2.addWeighted(following, weight, image, 1 - weight, 0), np.uint8
                )
            yield image


def _zoomed(photo: Image, focus: tuple[float, float], progress: float) -> Image:
    """A 16:9 part of the photograph around its focus, shrinking to 70% as `progress` goes 0 → 1."""
    height, width = photo.shape[:2]
    seen_width = (1 - 0.3 * progress) * min(width, height * WIDTH / HEIGHT)
    seen_height = seen_width * HEIGHT / WIDTH
    left = np.clip(focus[0] * width - seen_width / 2, 0, width - seen_width)
    top = np.clip(focus[1] * height - seen_height / 2, 0, height - seen_height)
    # One resampling with fractional corners: cutting whole pixels would make the zoom tremble.
    factor = WIDTH / seen_width
    matrix = np.array([[factor, 0, -factor * left], [0, factor, -factor * top]])
    image = cv2.warpAffine(
        photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(image, np.uint8)


def _chords(count: int, seconds: float) -> NDArray[np.float32]:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    place = t / seconds * count
    which = np.minimum(place.astype(int), count - 1)
    swell = np.sin(np.pi * (place - which)) ** 0.5  # silent where chords change: no click
    chords = np.array(CHORDS_HZ)[which % len(CHORDS_HZ)]  # (samples, 3)
    sound = 0.06 * swell * np.sin(2 * np.pi * chords * t[:, None]).sum(1)
    return np.asarray(sound, np.float32)
