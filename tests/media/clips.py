"""Small clips and pictures that the tests make for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

WIDTH, HEIGHT = 64, 48
TICK = Fraction(1, 12_800)


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A smooth picture with a bright square whose place tells `index`; (H, W, 3) RGB."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 2, y * 3, np.full_like(x, 90)], -1).clip(0, 200).astype(np.uint8)
    left = (index * 5) % max(1, width - 8)
    image[4:12, left : left + 8] = (250, 240, 20)
    return image


@dataclass(frozen=True)
class Clip:
    """What `make_clip` writes; times in units of `tick`."""

    times: Sequence[int] = tuple(range(0, 12 * 512, 512))
    tick: Fraction = TICK
    width: int = WIDTH
    height: int = HEIGHT
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "10"))
    rotation: int = 0  # degrees counter-clockwise that a player turns the picture by
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    audio_seconds: float = 0.0
    audio_codec: str = "aac"
    keyframe_every: int = 4
    colours: tuple[int, int, int, int] | None = None  # matrix, range, primaries, transfer


def make_clip(path: Path, clip: Clip | None = None, frames: Iterable[av.VideoFrame] = ()) -> Path:
    """Write the clip, with `frames` in place of the pictures of `picture` if given."""
    clip = clip or Clip()
    given = list(frames)
    options = {"movie_timescale": "12800"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=options) as output:
        video = output.add_stream(clip.codec, rate=25, options=dict(clip.options))
        assert isinstance(video, VideoStream)
        context = video.codec_context
        video.width, video.height, video.pix_fmt = clip.width, clip.height, clip.pixel_format
        context.time_base = video.time_base = clip.tick
        context.gop_size = clip.keyframe_every
        context.sample_aspect_ratio = clip.pixel_aspect
        if clip.colours is not None:
            context.colorspace, context.color_range = clip.colours[:2]
            context.color_primaries, context.color_trc = clip.colours[2:]
        if clip.rotation or clip.mirrored:
            video.set_display_rotation(clip.rotation, hflip=clip.mirrored)
        sound = _add_sound(output, clip) if clip.audio_seconds else None
        output.metadata["title"] = "A clip"
        if sound is not None:
            _write_sound(output, sound, clip.audio_seconds)
        for index, time in enumerate(clip.times):
            if given:
                frame = given[index]
            else:
                image = picture(index, clip.width, clip.height)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                    format=clip.pixel_format, dst_colorspace=1, dst_color_range=1
                )
            frame.pts, frame.time_base = time, clip.tick
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def _add_sound(output: av.container.OutputContainer, clip: Clip) -> AudioStream:
    sound = output.add_stream(clip.audio_codec, rate=48_000, layout="mono")
    assert isinstance(sound, AudioStream)
    sound.metadata["language"] = "deu"
    return sound


def _write_sound(output: av.container.OutputContainer, sound: AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(int(48_000 * seconds)) * 0.05).astype(np.float32) * 0.3
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    output.mux(sound.encode(frame))
    output.mux(sound.encode(None))


def plane_frame(
    pixel_format: str, levels: tuple[int, int, int], width: int = WIDTH, height: int = HEIGHT
) -> av.VideoFrame:
    """A frame of one colour, given as the levels of its three planes."""
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, level in zip(frame.planes, levels, strict=True):
        depth = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
        plane.update(np.full(plane.buffer_size // np.dtype(depth).itemsize, level, depth).tobytes())
    return frame
