"""Packets to frames: every picture once, in order, with its time; and what was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain

from av import VideoFrame
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.media.video.deinterlace import TimedFrame, deinterlaced

# Broadcasts: their clock starts anywhere, and packets get lost.
FREE_CLOCK = {"mpegts", "mpeg"}
_INVALID_DATA = -1094995529  # AVERROR_INVALIDDATA
_ONE_PICTURE_A_PACKET = {"h264", "hevc"}  # where a packet without a picture is a loss
_KEYFRAMES_UNTIL_READY = 2  # what comes after does not depend on where decoding began
_INTERLACED = range(2, 6)  # of FFmpeg's orders of fields: all but "unknown" and "progressive"
_DEINTERLACED = "the video is interlaced and was deinterlaced; --no-deinterlace keeps both fields"
_SEEK_EARLIER = (0, 3, 15)  # seconds: without an index, a seek may end up past the keyframe


class Decoder:
    """Decodes one video stream; used by one thread.

    Undecodable packets before the first picture are skipped and counted, as recordings of
    broadcasts begin with such. A later one, or the end of a file that is `cut_off`, ends `frames`
    with FFmpeg's error, after every picture that certainly precedes the damage. Pictures that
    FFmpeg repaired are delivered and counted. `usual_duration` is in seconds. With `deinterlace`,
    the interlaced frames of a stream that says it has such become progressive.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        usual_duration: Fraction,
        cut_off: bool = False,
        deinterlace: bool = False,
    ) -> None:
        self.skipped = 0  # packets before the first picture
        self.repaired: list[Fraction] = []  # times of pictures with concealed errors
        self.untimed = 0  # pictures without a time in the file
        self.lost = 0  # packets within the video that gave no picture
        self._container = container
        self._stream = stream
        self._tick = stream.time_base or Fraction(1, 90_000)
        self._usual_duration = usual_duration
        self._cut_off = cut_off
        context = stream.codec_context
        interlaced = context.field_order in _INTERLACED or context.name == "dvvideo"
        self._deinterlaces = deinterlace and interlaced
        self._any_interlaced = False
        # Broadcasts lose packets; players carry on, and so do we.
        self._refuses_holes = container.format.name not in FREE_CLOCK
        self._accountable = stream.codec_context.name in _ONE_PICTURE_A_PACKET
        self._counts_from: int | None = None  # losses before this time are not ours
        self._awaited: list[int] = []  # a heap: times of packets sent whose picture has not come
        self._any_picture = False
        self._safe_until: int | None = None  # nothing still unread is shown before this time
        self._next_pts: int | None = None  # where the last picture ends

    def frames(
        self, start: Fraction | None = None, end: Fraction | None = None
    ) -> Iterator[TimedFrame]:
        """Frames with start <= time < end, in seconds on the file's clock."""
        for frame, time in self._timed() if start is None else self.frames_from(start):
            if end is not None and time >= end:
                return
            if start is None or time >= start:
                if frame.is_corrupt:
                    self.repaired.append(time)
                yield frame, time

    def losses(self, remarks: Iterable[str] = ()) -> Losses:
        """What could not be delivered as it is in the file, so far."""
        if self._deinterlaces and self._any_interlaced:
            remarks = (*remarks, _DEINTERLACED)
        return Losses(
            skipped=self.skipped,
            lost=self.lost,
            repaired=len(self.repaired),
            first_repaired=next(iter(self.repaired), Fraction(0)),
            untimed=self.untimed,
            remarks=tuple(remarks),
        )

    def frames_from(self, start: Fraction) -> Iterator[TimedFrame]:
        """All frames from a keyframe at or before `start` on.

        Damage that shows soon after it may come from beginning there: then all is decoded again
        from the beginning of the file, and what is damaged still is the file's own.
        """
        last: Fraction | None = None
        try:
            keyframes = 0
            for frame, time in self._sought(start):
                keyframes += frame.key_frame
                is_early = keyframes <= _KEYFRAMES_UNTIL_READY
                if is_early and (frame.is_corrupt or self.lost) and self._restart(last):
                    break
                yield frame, time
                last = time
            else:
                return
        except FFmpegError:
            if keyframes > _KEYFRAMES_UNTIL_READY or not self._restart(last):
                raise
        for frame, time in self._timed():
            if last is None or time > last:
                yield frame, time

    def _restart(self, last: Fraction | None) -> bool:
        """Go to the beginning of the file; False for a stream where that is not possible."""
        if last is not None:
            self._counts_from = int(last / self._tick) + 1
        return self._seek(min(self._stream.start_time or 0, 0))

    def _sought(self, start: Fraction) -> Iterator[TimedFrame]:
        self._counts_from = int(start / self._tick)
        self._learn_encoder()
        if self._deinterlaces:
            start -= 2 * self._usual_duration  # a frame needs those before it
        for earlier in _SEEK_EARLIER:
            self._seek(int((start - earlier) / self._tick))
            frames = self._timed()
            first = next(frames, None)
            if first is not None and first[1] <= start:
                return chain([first], frames)
        # No index, or one that led too far: decode from the beginning.
        self._seek(min(self._stream.start_time or 0, 0))
        return self._timed()

    def _learn_encoder(self) -> None:
        """Decode the first packet: it alone may say which encoder made the video.

        FFmpeg reproduces what old encoders did differently, such as x264 before build 151 in High
        4:4:4, and remembers the encoder when a seek flushes the decoder. Without this, a decoder
        that begins further on gives other pictures, or garbage, in place of clean ones.
        """
        with suppress(FFmpegError):
            next(self._container.demux(self._stream)).decode()

    def _seek(self, ticks: int) -> bool:
        self._awaited.clear()
        self._any_picture, self.skipped, self.untimed, self.lost = False, 0, 0, 0
        try:
            self._container.seek(ticks, stream=self._stream)
        except FFmpegError:  # no times to seek by: from the beginning; earlier frames are dropped
            try:
                self._container.seek(0, unsupported_byte_offset=True)
            except FFmpegError:
                return False
        return True

    def _timed(self) -> Iterator[TimedFrame]:
        timed = self._with_times()
        return deinterlaced(timed) if self._deinterlaces else timed

    def _with_times(self) -> Iterator[TimedFrame]:
        last: Fraction | None = None
        for frame in self._decoded():
            if frame.pts is not None:
                time = frame.pts * self._tick
            else:
                self.untimed += 1
                time = Fraction(0) if last is None else last + self._usual_duration
            last = time
            yield frame, time

    def _decoded(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)  # ends with an empty one, which flushes
        while True:
            readable = False
            try:
                packet = next(packets, None)
                readable = True
                frames = [] if packet is None else self._decode(packet)
            except FFmpegError:
                if readable and not self._any_picture:
                    # Good pictures may be in the decoder's threads: they are not flushed away.
                    self.skipped += 1
                    continue
                yield from self._before_damage()
                raise
            if packet is None:
                break
            for frame in frames:
                self._account(frame)
                yield frame
        # PyAV drops an error that follows pictures in one flush; pictures still awaited betray it.
        if self._awaited and self._any_picture:
            raise InvalidDataError(_INVALID_DATA, "the last pictures cannot be decoded")

    def _decode(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        if packet.is_corrupt and self._refuses_holes:
            raise InvalidDataError(_INVALID_DATA, "a packet is incomplete")
        is_end = packet.dts is None and packet.pts is None and not packet.size
        if is_end and self._cut_off:
            raise InvalidDataError(_INVALID_DATA, "the file is shorter than its header says")
        if self._accountable and packet.pts is not None and not packet.is_discard:
            heappush(self._awaited, packet.pts)
        if packet.dts is not None:
            self._safe_until = packet.dts + (packet.duration or 0)
        return packet.decode()

    def _before_damage(self) -> Iterator[VideoFrame]:
        """The pictures still inside the decoder, as far as they follow without a gap."""
        with suppress(FFmpegError):
            for frame in self._stream.codec_context.decode(None):
                if self._any_picture and not self._follows(frame):
                    return
                self._account(frame)
                yield frame

    def _follows(self, frame: VideoFrame) -> bool:
        """Whether no other picture can lie between the last one and this."""
        if frame.pts is None or frame.pts == self._next_pts or self._safe_until is None:
            return True
        is_awaited_first = not self._awaited or self._awaited[0] >= frame.pts
        return frame.pts <= self._safe_until and is_awaited_first

    def _account(self, frame: VideoFrame) -> None:
        """Tick off what the frame came from, and count earlier packets left without a picture."""
        if frame.interlaced_frame:  # either field may come in a packet of its own
            self._accountable, self._any_interlaced = False, True
            self._awaited.clear()
        missing = 0
        while self._awaited and frame.pts is not None and self._awaited[0] <= frame.pts:
            time = heappop(self._awaited)
            missing += time < frame.pts and time >= (self._counts_from or time)
        if self._any_picture:
            self.lost += missing
        self._any_picture = True
        if frame.pts is not None:
            self._next_pts = frame.pts + frame.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What could not be delivered as it is in the file; that of two parts can be added.

    Packets `skipped` before the first picture and `lost` after it, and pictures `repaired` by the
    decoder, the first of them at `first_repaired` seconds, or `untimed` by the file. `remarks` are
    sentences on the pictures, each reported once.
    """

    skipped: int = 0
    lost: int = 0
    repaired: int = 0
    first_repaired: Fraction = Fraction(0)
    untimed: int = 0
    remarks: tuple[str, ...] = ()

    def __add__(self, later: Losses) -> Losses:
        return Losses(
            skipped=self.skipped + later.skipped,
            lost=self.lost + later.lost,
            repaired=self.repaired + later.repaired,
            first_repaired=self.first_repaired if self.repaired else later.first_repaired,
            untimed=self.untimed + later.untimed,
            remarks=tuple(dict.fromkeys((*self.remarks, *later.remarks))),
        )

    def sentences(self) -> list[str]:
        """One sentence for the user about each kind of loss."""
        found = list(self.remarks)
        if self.skipped:
            found.append(f"{self.skipped} packets before the first picture could not be decoded")
        if self.lost:
            found.append(f"{self.lost} packets within the video gave no picture")
        if self.repaired:
            found.append(
                f"{self.repaired} frames are damaged in the file and were painted as the "
                f"decoder repaired them (the first at {float(self.first_repaired):.3f} s)"
            )
        if self.untimed:
            found.append(
                f"the file gives no time for {self.untimed} frames; "
                "each was put one frame duration after the one before"
            )
        return found
