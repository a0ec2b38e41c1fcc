"""Whole clips, pictures and models, small, of every kind that can be read: what gets damaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rtstyle.media.video.opening import start_encoding
from rtstyle.model.zoo import shipped_folder
from tests.graphs import copying, dimming, fading, inverting, tinting
from tests.media.clips import picture

N_FRAMES = 12


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a clip is made: container suffix, codecs, and the options of its encoder and muxer."""

    suffix: str
    codec: str
    audio: str | None = "aac"
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (64, 48)  # (width, height)
    muxer: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    muxing: tuple[tuple[str, str], ...] = ()


_FAST = (("preset", "ultrafast"), ("bf", "2"), ("g", "5"), ("threads", "1"))
_VPX = (("deadline", "realtime"), ("cpu-used", "8"), ("g", "5"))

CLIPS = {
    "h264.mp4": Recipe(".mp4", "libx264", options=_FAST),
    "h264-faststart.mp4": Recipe(
        ".mp4", "libx264", options=_FAST, muxing=(("movflags", "faststart"),)
    ),
    "h264-fragments.mp4": Recipe(
        ".mp4", "libx264", options=_FAST, muxing=(("movflags", "frag_keyframe+empty_moov"),)
    ),
    "hevc.mp4": Recipe(
        ".mp4", "libx265", options=(("preset", "ultrafast"), ("x265-params", "log-level=none"))
    ),
    "av1.mp4": Recipe(".mp4", "libsvtav1", options=(("preset", "12"),)),
    "mpeg4.mp4": Recipe(".mp4", "mpeg4", "libmp3lame"),
    "prores.mov": Recipe(".mov", "prores_ks", "pcm_s16le", "yuv422p10le"),
    "mjpeg.mov": Recipe(".mov", "mjpeg", "aac", "yuvj420p"),
    "animation.mov": Recipe(".mov", "qtrle", None, "rgb24"),
    "png.mov": Recipe(".mov", "png", None, "rgba"),
    "h264.mkv": Recipe(".mkv", "libx264", "libopus", options=_FAST),
    "ffv1.mkv": Recipe(".mkv", "ffv1", "flac", "yuv422p10le"),
    "hevc.mkv": Recipe(
        ".mkv",
        "libx265",
        "ac3",
        options=(("preset", "ultrafast"), ("x265-params", "log-level=none")),
    ),
    "vp9.webm": Recipe(".webm", "libvpx-vp9", "libopus", options=_VPX),
    "vp8.webm": Recipe(".webm", "libvpx", "libopus", options=_VPX),
    "av1.webm": Recipe(".webm", "libsvtav1", "libopus", options=(("preset", "12"),)),
    "mpeg4.avi": Recipe(".avi", "mpeg4", "libmp3lame"),
    "mjpeg.avi": Recipe(".avi", "mjpeg", "pcm_s16le", "yuvj420p"),
    "huffyuv.avi": Recipe(".avi", "huffyuv", None, "yuv422p"),
    "raw.avi": Recipe(".avi", "rawvideo", "pcm_s16le", "bgr24"),
    "h264.ts": Recipe(".ts", "libx264", "aac", options=_FAST),
    "hevc.ts": Recipe(
        ".ts",
        "libx265",
        "mp2",
        options=(("preset", "ultrafast"), ("x265-params", "log-level=none")),
    ),
    "mpeg2.ts": Recipe(".ts", "mpeg2video", "mp2"),
    "mpeg2.mpg": Recipe(".mpg", "mpeg2video", "mp2", muxer="mpeg"),
    "h264.flv": Recipe(".flv", "libx264", "aac", options=_FAST),
    "flv.flv": Recipe(".flv", "flv", "libmp3lame"),
    "wmv.asf": Recipe(".asf", "wmv2", "libmp3lame"),
    "mpeg4.nut": Recipe(".nut", "mpeg4", "flac"),
    "mpeg2.mxf": Recipe(".mxf", "mpeg2video", None),
    "vp9.ivf": Recipe(".ivf", "libvpx-vp9", None, options=_VPX),
    "h263.3gp": Recipe(".3gp", "h263", None, size=(128, 96)),
    "animated.gif": Recipe(".gif", "gif", None, "rgb8"),
    "animated.apng": Recipe(".apng", "apng", None, "rgba"),
    "plain.y4m": Recipe(".y4m", "rawvideo", None, muxer="yuv4mpegpipe"),
    "plain.h264": Recipe(".h264", "libx264", None, options=_FAST),
    "plain.hevc": Recipe(
        ".hevc",
        "libx265",
        None,
        options=(("preset", "ultrafast"), ("x265-params", "log-level=none")),
    ),
    "plain.m2v": Recipe(".m2v", "mpeg2video", None, muxer="mpeg2video"),
    "plain.mjpeg": Recipe(".mjpeg", "mjpeg", None, "yuvj420p"),
}
PICTURES = ("rgb.jpg", "grey.jpg", "rgb.png", "alpha.png", "deep.png", "rgb.webp", "rgb.bmp",
            "rgb.tif", "deep.tiff")  # fmt: skip
MODELS = ("copying.onnx", "inverting.onnx", "dimming.onnx", "fading.onnx", "tinting.onnx",
          "starry_night.onnx")  # fmt: skip
DIM = {
    "format": 1, "architecture": "dimming", "options": {}, "stride": 4, "styles": ["bright",
    "dark"],
    "style_size": 2, "description": "", "licence": "", "provenance": {},
}  # fmt: skip


def make_materials(folder: Path) -> None:
    """Write all clips, pictures and models into `folder`; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in CLIPS.items():
        if not (folder / name).exists():
            write_clip(folder / name, recipe)
    for name in PICTURES:
        if not (folder / name).exists():
            write_picture(folder / name)
    if not (folder / MODELS[-1]).exists():
        _write_models(folder)


def write_clip(path: Path, recipe: Recipe, *, n_frames: int = N_FRAMES) -> None:
    """Write a clip of `n_frames` at 25 frames a second, with sound as long as the pictures."""
    options = dict(recipe.muxing)
    with av.open(str(path), "w", format=recipe.muxer, container_options=options) as output:
        video = cast(
            VideoStream, output.add_stream(recipe.codec, rate=25, options=dict(recipe.options))
        )
        video.width, video.height = recipe.size
        video.pix_fmt = recipe.pixel_format
        sound = None
        if recipe.audio is not None:
            sound = cast(AudioStream, output.add_stream(recipe.audio, rate=48_000, layout="mono"))
        output.metadata["title"] = "A clip"
        start_encoding(output)
        for index in range(n_frames):
            image = picture(index, *recipe.size)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(format=recipe.pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
            if sound is not None:
                output.mux(sound.encode(_tone(index, sound)))
        output.mux(video.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))


def _tone(index: int, sound: AudioStream) -> av.AudioFrame:
    """What sounds during one picture: 1920 samples at 48 kHz."""
    at = np.arange(index * 1920, (index + 1) * 1920)
    samples = (np.sin(at * 0.05) * 9000).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * 1920, Fraction(1, 48_000)
    resampler = av.AudioResampler(format=sound.format, layout="mono", rate=48_000)
    return resampler.resample(frame)[0]


def write_picture(path: Path, size: tuple[int, int] = (80, 60)) -> None:
    """Write a picture of the kind that its name tells: grey, deep (16 bits), with alpha, or RGB."""
    image: NDArray[Any] = picture(3, *size)[:, :, ::-1].copy()
    match path.stem:
        case "grey":
            image = image[:, :, 1]
        case "alpha":
            image = np.dstack([image, np.full(image.shape[:2], 128, np.uint8)])
        case "deep":
            image = image.astype(np.uint16) * 257
    encoded, data = cv2.imencode(path.suffix, image)
    assert encoded
    path.write_bytes(data.tobytes())


def _write_models(folder: Path) -> None:
    copying(folder / "copying.onnx")
    inverting(folder / "inverting.onnx", peak=255.0)
    dimming(folder / "dimming.onnx", metadata={"rtstyle": json.dumps(DIM)})
    one = DIM | {"styles": ["faded"], "style_size": 0}
    fading(folder / "fading.onnx", metadata={"rtstyle": json.dumps(one)})
    tinting(folder / "tinting.onnx")
    shutil.copyfile(shipped_folder() / MODELS[-1], folder / MODELS[-1])
