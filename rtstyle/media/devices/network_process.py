"""The process that encodes and sends for `NetworkSink`.

While FFmpeg connects to a silent server it holds the interpreter lock. In a separate process that
blocks nobody, and the process can be killed at any time. It reads one line of JSON from stdin, then
frames: eight bytes of time in `TIME_BASE`, then the RGB picture. On stdout it answers "ready" once
it is connected, or a line with the reason why not.
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

from rtstyle.media.devices.source import TIME_BASE
from rtstyle.media.video.color import RgbWriter
from rtstyle.media.video.container import reason

TIME = struct.Struct(">q")


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
        self._output.start_encoding()

    def send_all(self, source: BinaryIO) -> None:
        """Encode and send frames until `source` ends."""
        width, height = self._size
        context = self._stream.codec_context
        while len(head := source.read(TIME.size)) == TIME.size:
            pixels = source.read(width * height * 3)
            if len(pixels) < width * height * 3:
                break
            image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            even = np.ascontiguousarray(image[: context.height, : context.width])
            picture = self._writer.write(even)
            picture.time_base, (picture.pts,) = TIME_BASE, TIME.unpack(head)
            self._output.mux(self._stream.encode(picture))
        self._output.mux(self._stream.encode(None))
        with suppress(FFmpegError, OSError):  # the server may leave first
            self._output.close()


if __name__ == "__main__":
    sys.exit(main())
