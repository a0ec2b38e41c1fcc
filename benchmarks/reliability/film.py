"""A film of any length with sound and regular keyframes, to be cut into segments."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from rtstyle.demo import FPS, HEIGHT, SAMPLE_RATE, WIDTH, make_clip
from rtstyle.media.video.source import FileSource


def make_film(path: Path, seconds: int) -> Path:
    """The demo clip over and over, 640×360, with B-frames, a keyframe a second and a tone."""
    with TemporaryDirectory() as folder, av.open(str(path), "w") as output:
        make_clip(clip := Path(folder) / "clip.mp4")
        video = output.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "bf": "2"})
        sound = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(video, VideoStream)
        assert isinstance(sound, AudioStream)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = FPS
        written = 0
        while written < seconds * FPS:
            with FileSource(clip) as source:
                for frame, _ in source.times():
                    if written % FPS == 0:
                        output.mux(sound.encode(_tone(written // FPS)))
                    frame.pts, frame.time_base = written, Fraction(1, FPS)
                    frame.pict_type = 0
                    output.mux(video.encode(frame))
                    written += 1
                    if written == seconds * FPS:
                        break
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    return path


def _tone(second: int) -> av.AudioFrame:
    """One second of a tone, each second's a little higher."""
    samples = 0.1 * np.sin(np.arange(SAMPLE_RATE) * (0.03 + 0.001 * (second % 20)))
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, second * SAMPLE_RATE
    frame.time_base = Fraction(1, SAMPLE_RATE)
    return frame
