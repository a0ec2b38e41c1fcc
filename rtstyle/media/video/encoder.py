"""The video stream of an output file: frames in, packets out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av import VideoFrame
from av.codec import Codec
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.errors import OutputError, UsageError
from rtstyle.frame import DeviceFrame, Frame, StreamInfo
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.color import PaletteWriter, RgbWriter
from rtstyle.media.video.container import reason
from rtstyle.media.video.formats import (
    Container,
    bits_in,
    encoder_options,
    needs_even_size,
    pixel_format_for,
    usual_codec,
)
from rtstyle.media.video.nvcodec import (
    DeviceFrames,
    device_encoder,
    encoder_hwaccel,
    encoder_notes,
)
from rtstyle.media.video.orientation import Array


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
        usual = usual_codec(container, info, alpha=options.alpha)
        self.codec = options.codec or device_encoder(usual, options.hwaccel, info) or usual
        if options.codec is None:
            self.notes += encoder_notes(options.hwaccel, self.codec)
        self._container, self._info, self._options = container, info, options
        self.tick = container.tick(info)  # seconds, what packets' times count
        self.rounded = 0  # times that the container cannot say exactly
        self._first_ticks: int | None = None
        self._last_ticks: int | None = None
        self._adopted = False
        self._device_frames = DeviceFrames()
        self.stream = self._add(output)
        self._padding = self._configure()
        self._writer = self._make_writer()

    @property
    def is_empty(self) -> bool:
        """Whether no frame has come yet."""
        return self._last_ticks is None

    def check_options(self) -> None:
        """Once the encoder is open, raise `UsageError` for options that it does not have."""
        left = set(self.stream.codec_context.options)  # FFmpeg removes the options that were used
        if unknown := left & set(self._options.options):
            names = ", ".join(sorted(unknown))
            raise UsageError(f"The codec {self.codec} has no option {names}; check its name.")

    def check_size(self, frame: Frame | DeviceFrame) -> None:
        """Raise `OutputError` where a frame has another size than `info`."""
        height, width = frame.image.shape[:2]
        if (width, height) != (self._info.width, self._info.height):
            raise OutputError(
                f"The output takes pictures of {self._info.width}×{self._info.height}, but one "
                f"of {width}×{height} came; all frames of a video have one size."
            )

    def encode(self, frame: Frame | DeviceFrame) -> list[Packet[VideoStream]]:
        """The packets that are ready after this frame."""
        picture = self._picture(frame)
        picture.time_base = self.tick
        picture.pts = self._ticks(frame.time)
        picture.duration = max(0, round((frame.duration or 0) / self.tick))
        self.end = frame.time + (frame.duration or 1 / self._info.rate)
        return self.stream.encode(picture)

    def _picture(self, frame: Frame | DeviceFrame) -> VideoFrame:
        if isinstance(frame, DeviceFrame):
            if isinstance(self._writer, RgbWriter) and self._writer.is_yuv420:
                picture = self._device_frames.frame(frame.image)
                self._writer.tag(picture)
                return picture
            frame = frame.download()
        image = self._padded(frame.image)
        if frame.alpha is not None and self._options.alpha:
            image = np.dstack([image, self._padded(frame.alpha)])
        if isinstance(self._writer, PaletteWriter) or frame.gain is None:
            return self._writer.write(image)
        return self._writer.write(image, self._padded(frame.gain))

    def adopt(self, packet: Packet[VideoStream], end: Fraction) -> None:
        """Turn a packet of another encoder with the same settings into one of this stream.

        `end` is where the frames adopted so far end, in seconds.
        """
        packet.stream = self.stream
        packet.time_base = self.tick
        self._adopted, self._last_ticks, self.end = True, packet.pts, end
        if self._first_ticks is None:
            self._first_ticks = packet.pts

    def flush(self) -> list[Packet[VideoStream]]:
        """The last packets; after it, `notes` is complete."""
        if self.rounded:
            unit = self._container.clock or self.tick
            self.notes.append(
                f"{self.rounded} frame times were rounded to {unit} s, "
                f"all that {self._container.muxer} can hold"
            )
        if self._container.counts_frames and self._first_ticks:
            self.notes.append(
                f"{self._container.muxer} has no times: the pictures begin at 0 s instead of "
                f"{float(self._first_ticks * self.tick):.3f} s"
            )
        return [] if self._adopted else self.stream.encode(None)

    def _add(self, output: OutputContainer) -> VideoStream:
        try:
            codec_options = encoder_options(self.codec, self._options, self._info)
            accelerated = encoder_hwaccel(self.codec, self._options.pixel_format, self._info)
            stream = output.add_stream(
                self.codec, rate=self._info.rate, options=codec_options, hwaccel=accelerated
            )
            if not isinstance(stream, VideoStream):
                raise ValueError("it does not encode video")
            codec = Codec(self.codec, "w")
            if self._options.bitrate is not None and not codec.lossy:
                raise UsageError(f"The codec {self.codec} is lossless and takes no bit rate.")
            supported = [f.name for f in codec.video_formats or []]
            chosen = pixel_format_for(self.codec, supported, self._options, self._info)
            if self._info.bits > 8 and bits_in(chosen) == 8 and not self._options.pixel_format:
                self.notes.append(
                    f"the input has {self._info.bits} bits a channel, but {self.codec} has 8 in "
                    f"{self._container.muxer}"
                )
            stream.codec_context.pix_fmt = chosen
            if self._options.alpha:
                stream.metadata["alpha_mode"] = "1"  # what Matroska says of VP9
        except (FFmpegError, ValueError, TypeError) as error:
            raise UsageError(
                f"The codec {self.codec!r} cannot go into {self._container.muxer} "
                f"({reason(error)}); leave it out to use {self._container.codec}."
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
        context.time_base = self.stream.time_base = self.tick
        context.sample_aspect_ratio = self._info.pixel_aspect
        if self._options.threads is not None:
            context.thread_count = self._options.threads
        context.flags |= Flags.frame_duration  # so that the last frame lasts as long as it should
        return down, right

    def _make_writer(self) -> RgbWriter | PaletteWriter:
        pixel_format = str(self.stream.codec_context.pix_fmt)
        if pixel_format == "pal8":
            return PaletteWriter(self._info.width, self._info.height)
        writer = RgbWriter(pixel_format, self._info)
        writer.tag(self.stream.codec_context)
        return writer

    def _ticks(self, time: Fraction) -> int:
        ticks = round(time / self.tick)
        if self._last_ticks is not None and ticks <= self._last_ticks:
            ticks = self._last_ticks + 1  # encoders take times that rise
        unit = self._container.clock or self.tick
        self.rounded += ticks * self.tick != time or (time / unit).denominator != 1
        self._last_ticks = ticks
        if self._first_ticks is None:
            self._first_ticks = ticks
        return ticks

    def _padded(self, image: Array) -> Array:
        down, right = self._padding
        if not down and not right:
            return image
        return np.pad(image, ((0, down), (0, right), (0, 0))[: image.ndim], mode="edge")
