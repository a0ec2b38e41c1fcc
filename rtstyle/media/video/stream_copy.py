"""One stream of a file into another: copied packet by packet, or decoded and re-encoded."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

# The muxer states these itself; copied, they would describe the input.
_NOT_COPIED = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


class Copy:
    """One stream copied packet by packet."""

    def __init__(self, output: OutputContainer, stream: Stream, shift: Fraction) -> None:
        self._stream = output.add_stream_from_template(stream, opaque=True)
        self._shift = _describe(self._stream, stream, shift)
        self._is_sound = isinstance(stream, AudioStream)
        self._usual_duration = _packet_duration(stream)
        self._last: int | None = None

    def write(self, output: OutputContainer, packet: Packet[Stream]) -> None:
        if is_end_mark(packet):
            return
        if self._is_sound:
            self._fill_duration(packet)
        if packet.pts is not None:
            packet.pts -= self._shift
        if packet.dts is not None:
            packet.dts -= self._shift
        packet.stream = self._stream
        output.mux_one(packet)

    def _fill_duration(self, packet: Packet[Stream]) -> None:
        """Give a sound packet without a duration, as in FLV, the usual one: in mp4 the last packet
        would otherwise have no length, and players would skip it."""
        if packet.pts is None:
            return
        if self._last is not None and packet.pts > self._last:
            self._usual_duration = packet.pts - self._last
        self._last = packet.pts
        if not packet.duration:
            packet.duration = self._usual_duration


def _packet_duration(stream: Stream) -> int:
    """The duration of a sound packet by its codec, in the stream's ticks; 0 where unknown."""
    if not isinstance(stream, AudioStream) or stream.codec_context is None:
        return 0  # no sound, or no decoder for it
    context, tick = stream.codec_context, stream.time_base or Fraction(1)
    if not context.sample_rate:
        return 0
    return round(Fraction(context.frame_size, context.sample_rate) / tick)


class SoundTranscode:
    """One sound stream decoded and re-encoded, as stereo or mono."""

    def __init__(
        self, output: OutputContainer, stream: AudioStream, codec: str, shift: Fraction
    ) -> None:
        rate = 48_000 if codec == "libopus" else stream.rate
        self._stream = cast(AudioStream, output.add_stream(codec, rate=rate))
        self._stream.layout = "stereo" if stream.layout.nb_channels >= 2 else "mono"
        self._shift = _describe(self._stream, stream, shift)

    def write(self, output: OutputContainer, packet: Packet[Any]) -> None:
        for frame in packet.decode():
            assert isinstance(frame, AudioFrame)
            if frame.pts is not None:
                frame.pts -= self._shift
            output.mux(self._stream.encode(frame))
        if is_end_mark(packet):
            output.mux(self._stream.encode(None))


class TextTranscode:
    """One stream of text subtitles decoded and re-encoded; times and durations stay."""

    def __init__(
        self, output: OutputContainer, stream: SubtitleStream, codec: str, shift: Fraction
    ) -> None:
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)  # which makes the header that the encoder asks for
        self._stream = cast(SubtitleStream, output.add_stream(codec))
        self._stream.codec_context.subtitle_header = self._decoder.subtitle_header
        tick = stream.time_base or Fraction(1, 1000)
        self._stream.time_base = self._stream.codec_context.time_base = tick
        self._shift = _describe(self._stream, stream, shift)

    def write(self, output: OutputContainer, packet: Packet[Any]) -> None:
        subtitles = None if is_end_mark(packet) else self._decoder.decode2(packet)
        if not subtitles or packet.pts is None:
            return
        encoded = self._stream.codec_context.encode_subtitle(subtitles)
        encoded.time_base = packet.time_base
        encoded.pts = encoded.dts = packet.pts - self._shift
        encoded.duration = packet.duration
        encoded.stream = self._stream
        output.mux_one(encoded)


def _describe(output: Stream, stream: Stream, shift: Fraction) -> int:
    """Give `output` the metadata of `stream`; `shift`, in seconds, in the ticks of `stream`."""
    output.metadata.update(kept_metadata(stream.metadata))
    output.disposition = stream.disposition
    return round(shift / stream.time_base) if stream.time_base else 0


def is_end_mark(packet: Packet[Any]) -> bool:
    """Whether this is the empty packet that ends a stream."""
    return packet.size == 0 and packet.dts is None and packet.pts is None


def can_hold(muxer: str, stream: Stream) -> bool:
    """Whether the muxer takes the stream as it is, found out by a trial in memory."""
    if stream.type == "attachment" and muxer != "matroska":
        return False  # webm's takes it without a word and leaves it out
    if stream.type == "data" and (stream.name is None or muxer == "avi"):
        return False  # no muxer writes what only its own player understands
    trial = av.open(io.BytesIO(), "w", format=muxer)
    try:
        trial.add_stream_from_template(stream, opaque=True)
        trial.start_encoding()
        return True
    except (FFmpegError, ValueError):
        return False
    finally:
        with suppress(FFmpegError, ValueError):
            trial.close()


def kept_metadata(metadata: dict[str, str], *more: str) -> dict[str, str]:
    """The metadata of a file or stream without the keys that the muxer sets itself, and `more`."""
    return {k: v for k, v in metadata.items() if k.lower() not in _NOT_COPIED | set(more)}
