"""The process that encodes and sends for `NetworkSink`.

While FFmpeg connects to a silent server it holds the interpreter lock. In a separate process that
blocks nobody, and the process can be killed at any time. It reads one line of JSON from stdin, then
frames: their time in `TIME_BASE` and how many bytes of sound there are, the sound up to that time,
and the RGB picture. On stdout it answers "ready" once it is connected, or a line with the reason
why not.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from rtstyle.media.devices.sound import RATE
from rtstyle.media.devices.source import TIME_BASE
from rtstyle.media.video.color import RgbWriter
from rtstyle.media.video.container import reason

HEAD = struct.Struct(">qI")


def main() -> int:
    """Connect, then send what comes until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides when to end
    source = sys.stdin.buffer
    settings = json.loads(source.readline())
    try:
        connection = _Connection(**settings)
        print("ready", flush=True)
        connection.send_all(source)
    except (FFmpegError, OSError, ValueError) as error:
        print(reason(error), flush=True)
        return 1
    return 0


class _Connection:
    """An encoder and the muxer that sends what it makes."""

    def __init__(
        self,
        *,
        url: str,
        muxer: str,
        options: dict[str, str],
        width: int,
        height: int,
        rate: str,
        bitrate: int,
        sound: bool = False,
    ) -> None:
        self._size = width, height
        self._output: OutputContainer = av.open(
            url, "w", format=muxer, container_options=options, timeout=5.0
        )
        encoder = {"preset": "superfast", "tune": "zerolatency", "profile": "main"}
        stream: Any = self._output.add_stream("libx264", rate=Fraction(rate), options=encoder)
        self._stream: VideoStream = stream
        context = self._stream.codec_context
        context.width, context.height = width // 2 * 2, height // 2 * 2
        context.pix_fmt, context.bit_rate = "yuv420p", bitrate
        context.time_base = stream.time_base = TIME_BASE
        context.gop_size = max(1, round(2 * Fraction(rate)))
        self._writer = RgbWriter("yuv420p")
        self._writer.tag(context)
        self._sound: Any = None
        self._n_samples = 0
        if sound:
            self._sound = self._output.add_stream("aac", rate=RATE, layout="stereo")
        self._output.start_encoding()

    def send_all(self, source: BinaryIO) -> None:
        """Encode and send frames until `source` ends."""
        width, height = self._size
        context = self._stream.codec_context
        while len(head := source.read(HEAD.size)) == HEAD.size:
            ticks, n_bytes = HEAD.unpack(head)
            self._send_sound(source.read(n_bytes))
            pixels = source.read(width * height * 3)
            if len(pixels) < width * height * 3:
                break
            image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            even = np.ascontiguousarray(image[: context.height, : context.width])
            picture = self._writer.write(even)
            picture.time_base, picture.pts = TIME_BASE, ticks
            self._output.mux(self._stream.encode(picture))
        self._output.mux(self._stream.encode(None))
        if self._sound is not None:
            self._output.mux(self._sound.encode(None))
        with suppress(FFmpegError, OSError):  # the server may leave first
            self._output.close()

    def _send_sound(self, sound: bytes) -> None:
        if self._sound is None or not sound:
            return
        frame = av.AudioFrame.from_ndarray(np.frombuffer(sound, np.int16)[None], format="s16")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._n_samples, Fraction(1, RATE)
        self._n_samples += len(sound) // 4
        self._output.mux(self._sound.encode(frame))


if __name__ == "__main__":
    sys.exit(main())
