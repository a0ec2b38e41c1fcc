"""The painted stream of an output file: pictures in, packets out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.codec import Codec
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.errors import UsageError
from rtstyle.frame import Frame, Image, StreamInfo
from rtstyle.media.colour import RgbWriter
from rtstyle.media.container import reason
from rtstyle.media.encoding import Container, encoder_options, needs_even_size, pixel_format_for
from rtstyle.media.hwaccel import encoder_on_card
from rtstyle.media.options import WriteOptions
from rtstyle.media.palette import PaletteWriter


class VideoTrack:
    """Encodes frames at their exact times into a stream that it adds to `output`.

    Raises `UsageError` for a codec that does not exist or does not go into the container. Used by
    one thread.
    """

    def __init__(
        self, output: OutputContainer, container: Container, info: StreamInfo, options: WriteOptions
    ) -> None:
        self.notes: list[str] = []
        self.end = Fraction(0)  # seconds, where the last frame ends
        self.codec = (
            options.codec
            or encoder_on_card(container.codec, options.hwaccel, info.width, info.height)
            or container.codec
        )
        self._container, self._info, self._options = container, info, options
        self._tick = container.tick(info)
        self._last_ticks: int | None = None
        self._rounded = 0
        self.stream = self._add(output)
        self._padding = self._configure()
        self._writer = self._make_writer()

    @property
    def is_empty(self) -> bool:
        """Whether no frame has come yet."""
        return self._last_ticks is None

    def check_options(self) -> None:
        """Once the encoder is open: raise `UsageError` for options of the user it does not have."""
        left = set(self.stream.codec_context.options)  # FFmpeg leaves what nothing took
        if unknown := left & set(self._options.options):
            names = ", ".join(sorted(unknown))
            raise UsageError(f"The codec {self.codec} has no option {names}; check its name.")

    def encode(self, frame: Frame) -> list[Packet[VideoStream]]:
        """The packets that are ready after this frame."""
        picture = self._writer.write(self._padded(frame.image))
        picture.time_base = self._tick
        picture.pts = self._ticks(frame.time)
        picture.duration = max(0, round((frame.duration or 0) / self._tick))
        self.end = frame.time + (frame.duration or 1 / self._info.rate)
        return self.stream.encode(picture)

    def flush(self) -> list[Packet[VideoStream]]:
        """The last packets; after it, `notes` is complete."""
        if self._rounded:
            unit = self._container.clock or self._tick
            self.notes.append(
                f"{self._rounded} frame times were rounded to {unit} s, "
                f"all that {self._container.muxer} can hold"
            )
        return self.stream.encode(None)

    def _add(self, output: OutputContainer) -> VideoStream:
        try:
            codec_options = encoder_options(self.codec, self._options)
            stream = output.add_stream(self.codec, rate=self._info.rate, options=codec_options)
            if not isinstance(stream, VideoStream):
                raise ValueError("it does not encode video")
            supported = [f.name for f in Codec(self.codec, "w").video_formats or []]
            stream.codec_context.pix_fmt = pixel_format_for(self.codec, supported, self._options)
        except (FFmpegError, ValueError, TypeError) as error:
            why = reason(error) if isinstance(error, FFmpegError) else str(error)
            raise UsageError(
                f"The codec {self.codec!r} cannot go into {self._container.muxer} ({why}); leave "
                f"it out to use {self._container.codec}."
            ) from error
        return stream

    def _configure(self) -> tuple[int, int]:
        """Set the encoder up; the rows and columns to add to every picture."""
        context = self.stream.codec_context
        width, height = self._info.width, self._info.height
        down, right = 0, 0
        if needs_even_size(self.codec, str(context.pix_fmt)) and (width % 2 or height % 2):
            down, right = height % 2, width % 2
            self.notes.append(
                f"{width}×{height} is odd, which {self.codec} cannot hold: the last column or row "
                f"was repeated to make {width + right}×{height + down}"
            )
        context.width, context.height = width + right, height + down
        context.time_base = self.stream.time_base = self._tick
        context.sample_aspect_ratio = self._info.pixel_aspect
        context.flags |= Flags.frame_duration  # so that the last frame lasts as long as it should
        return down, right

    def _make_writer(self) -> RgbWriter | PaletteWriter:
        pixel_format = str(self.stream.codec_context.pix_fmt)
        if pixel_format == "pal8":
            return PaletteWriter(self._info.width, self._info.height)
        writer = RgbWriter(pixel_format)
        writer.tag(self.stream.codec_context)
        return writer

    def _ticks(self, time: Fraction) -> int:
        ticks = round(time / self._tick)
        if self._last_ticks is not None and ticks <= self._last_ticks:
            ticks = self._last_ticks + 1  # encoders take times that rise
        unit = self._container.clock or self._tick
        self._rounded += ticks * self._tick != time or (time / unit).denominator != 1
        self._last_ticks = ticks
        return ticks

    def _padded(self, image: Image) -> Image:
        down, right = self._padding
        if not down and not right:
            return image
        return np.pad(image, ((0, down), (0, right), (0, 0)), mode="edge")
