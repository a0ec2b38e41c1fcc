"""What accompanies the pictures, copied bit for bit: sound, subtitles, chapters, metadata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from rtstyle.errors import UsageError
from rtstyle.media.base import Origin
from rtstyle.media.options import WriteOptions
from rtstyle.media.video.container import open_container, reason
from rtstyle.media.video.formats import Container
from rtstyle.media.video.stream_copy import (
    Copy,
    SoundTranscode,
    TextTranscode,
    can_hold,
    is_end_mark,
    kept_metadata,
)

# What mp4's usual metadata boxes hold, as FFmpeg's muxer writes them.
_MP4_KEYS = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"),
    *("copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
    *("network", "keywords", "creation_time", "track", "disc", "tmpo", "compilation"),
}


_LATE = 5  # seconds by which packets of one stream may come after those of another
_TEXT_CODECS = {"mov_text", "srt", "subrip", "ass", "ssa", "webvtt", "text"}


class Passthrough:
    """Copies what accompanies the video stream of `origin` into another container.

    The file is opened a second time, so that its packets can be read at the pace of the encoded
    frames. Packets keep payload, times and durations; with a cut, those that start within it are
    kept and shifted with the frames. Used by one thread.
    """

    def __init__(self, origin: Origin, target: Container, options: WriteOptions) -> None:
        self.notes: list[str] = []
        self._audio_codec = options.audio_codec
        self._origin = origin
        self._target = target
        self._end = origin.end
        self._input = origin.reopen() if origin.reopen else open_container(origin.paths[0])
        # Sound may begin before time 0, with what primes the codec. mp4 can express that for any
        # stream, Matroska only for one that comes from Matroska.
        self._keeps_delay = target.negative_times or (
            target.muxer in ("matroska", "webm") and "matroska" in self._input.format.name
        )
        self._writers: dict[int, Copy | SoundTranscode | TextTranscode] = {}
        self._kept = [s for s in self._input.streams if self._is_kept(s, options.keep_audio)]
        self._packets: Iterator[Packet[Stream]] | None = None
        self._waiting: Packet[Stream] | None = None
        self._refused = 0  # packets that the muxer did not take

    def _is_kept(self, stream: Stream, keep_audio: bool) -> bool:
        if stream.index == self._origin.stream or (stream.type == "audio" and not keep_audio):
            return False
        if stream.type == "data" and "timecode" in stream.metadata:
            return False  # the muxer makes it from the video's metadata
        if stream.type == "data" and stream.name == "bin_data" and self._input.chapters():
            return False  # how QuickTime stores the titles of chapters, which are copied as such
        if stream.type == "video" and not stream.disposition & Disposition.attached_pic:
            # Kept, it could be the one that a player shows.
            self.notes.append(f"video stream {stream.index} was left out: one is painted")
            return False
        if stream.type != "audio" and self._origin.drop is not None:
            # Sparse: to wait for the next one could mean to keep the rest of the pipe in memory.
            self.notes.append(f"{stream.type} stream {stream.index} of the pipe was left out")
            return False
        is_held = self._copies(stream) or self._other_codec(stream)
        if is_held and not self._target.is_bare:
            return True
        name = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
        self.notes.append(
            f"{stream.type} stream {stream.index} ({name or 'unknown format'}) was left out: "
            f"{self._target.muxer} cannot hold it"
        )
        return False

    def _copies(self, stream: Stream) -> bool:
        """Whether the stream is copied as it is."""
        is_encoded = stream.type == "audio" and self._audio_codec is not None
        return not is_encoded and can_hold(self._target.muxer, stream)

    def _other_codec(self, stream: Stream) -> str | None:
        """The codec to encode a stream with that is not copied."""
        if stream.codec_context is None:
            return None
        if stream.type == "audio":
            return self._audio_codec or self._target.audio_codec
        is_text = stream.type == "subtitle" and stream.codec_context.name in _TEXT_CODECS
        return self._target.text_codec if is_text else None

    def starts(self) -> list[Fraction]:
        """When the streams start in the output, in seconds; for a cut file, their time bases."""
        cut = self._origin.start is not None
        return [
            s.time_base if cut else (s.start_time or 0) * s.time_base - self._origin.offset
            for s in self._input.streams
            if s.time_base and s.type in ("video", "audio", "subtitle")
        ]

    def needs_free_keys(self) -> bool:
        """Whether there is metadata that only QuickTime's free keys can hold.

        They take the place of the usual ones, and a cover picture is stored with the usual ones.
        """
        has_cover = any(s.disposition & Disposition.attached_pic for s in self._kept)
        keys = {key.lower() for key in kept_metadata(self._input.metadata)}
        return not has_cover and not keys <= _MP4_KEYS

    def add_streams(self, output: OutputContainer, *, before_video: bool) -> None:
        """Add the streams that precede the video stream in the file, or those that follow it."""
        assert self._origin.stream is not None
        for stream in self._kept:
            if (stream.index < self._origin.stream) != before_video:
                continue
            shift = self._origin.offset
            codec = self._other_codec(stream)
            if self._copies(stream):
                self._writers[stream.index] = Copy(output, stream, shift)
                continue
            assert codec is not None
            if isinstance(stream, AudioStream):
                self._writers[stream.index] = self._transcoded(output, stream, codec)
                if self._audio_codec is not None:
                    continue
            elif isinstance(stream, SubtitleStream):
                self._writers[stream.index] = TextTranscode(output, stream, codec, shift)
            self.notes.append(
                f"{stream.type} stream {stream.index} ({stream.codec_context.name}) was re-encoded "
                f"as {codec}: {self._target.muxer} cannot hold it as it is"
            )

    def _transcoded(
        self, output: OutputContainer, stream: AudioStream, codec: str
    ) -> SoundTranscode:
        try:
            if Codec(codec, "w").type != "audio":
                raise ValueError("it does not encode sound")
            return SoundTranscode(output, stream, codec, self._origin.offset)
        except (FFmpegError, ValueError, TypeError) as error:
            raise UsageError(
                f"Sound cannot be encoded as {codec!r} into {self._target.muxer} "
                f"({reason(error)}); leave -c:a out to copy it."
            ) from error

    def describe(self, output: OutputContainer, video: VideoStream) -> None:
        """Copy the metadata of the container and of the video stream, and the chapters."""
        assert self._origin.stream is not None
        source = self._input.streams[self._origin.stream]
        # The pictures are upright by now: `rotate` no longer applies.
        video.metadata.update(kept_metadata(source.metadata, "rotate"))
        video.disposition = source.disposition
        output.metadata.update(kept_metadata(self._input.metadata))
        chapters = [_shifted(dict(c), self._origin) for c in self._input.chapters()]
        output.set_chapters([c for c in chapters if c["start"] < c["end"]])  # type: ignore[misc]

    def write(self, output: OutputContainer, until: Fraction | None) -> None:
        """Mux every packet that lies before `until` (seconds in the output); None: all the rest."""
        if self._packets is None:
            self._packets = self._read()
            self._waiting = next(self._packets, None)
        while self._waiting is not None:
            if until is not None and self._time(self._waiting) > until:
                return
            self._write(output, self._waiting)
            self._waiting = next(self._packets, None)
        if until is None and self._refused:
            self.notes.append(
                f"{self._refused} sound packets or subtitles are damaged and were left out"
            )

    def _write(self, output: OutputContainer, packet: Packet[Stream]) -> None:
        try:
            self._writers[packet.stream.index].write(output, packet)
        except (InvalidDataError, ArgumentError):  # a time before the last one, or no such payload
            self._refused += 1

    def end_at(self, time: Fraction) -> None:
        """Copy nothing from `time` on (seconds in the output)."""
        end = time + self._origin.offset
        self._end = end if self._end is None else min(self._end, end)
        if self._waiting is not None and self._is_outside(self._waiting):
            self._waiting = next(self._packets or iter(()), None)

    def close(self) -> None:
        """Close the second reading of the input."""
        self._input.close()
        if self._origin.drop is not None:
            self._origin.drop()

    def _read(self) -> Iterator[Packet[Stream]]:
        kept = [s for s in self._kept if s.type != "attachment"]
        if not kept:
            if self._origin.drop is not None:
                self._origin.drop()
            return
        if self._origin.start is not None:
            with suppress(FFmpegError):
                self._input.seek(int(self._origin.start * 1_000_000))
        try:
            for packet in self._input.demux(kept):
                if is_end_mark(packet) or not self._is_outside(packet):
                    yield packet
                elif self._origin.reopen and self._is_far_behind(packet):
                    return  # what is no file may have no end
        except FFmpegError:
            self.notes.append("the input is damaged: sound and subtitles end where it can be read")

    def _time(self, packet: Packet[Stream]) -> Fraction:
        """When the packet is due in the output, in seconds; end marks are due at once."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        return Fraction(0) if stamp is None else stamp * packet.time_base - self._origin.offset

    def _is_outside(self, packet: Packet[Stream]) -> bool:
        if packet.stream.disposition & Disposition.attached_pic:
            return False
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return False
        time = stamp * packet.time_base
        if self._origin.start is not None and time < self._origin.start:
            return True
        if not self._keeps_delay and time < self._origin.offset:
            return True  # written, it would make the muxer shift all streams
        return self._end is not None and time >= self._end

    def _is_far_behind(self, packet: Packet[Stream]) -> bool:
        end = self._end
        return end is not None and self._time(packet) + self._origin.offset > end + _LATE


def _shifted(chapter: dict[str, Any], origin: Origin) -> dict[str, Any]:
    tick = chapter["time_base"]
    start, end = chapter["start"] * tick, chapter["end"] * tick
    if origin.start is not None:
        start = max(start, origin.start)
    if origin.end is not None:
        end = min(end, origin.end)
    chapter["start"] = round((start - origin.offset) / tick)
    chapter["end"] = round((end - origin.offset) / tick)
    return chapter
