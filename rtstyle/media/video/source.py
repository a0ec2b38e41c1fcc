"""A video file as a source: every frame, upright, in order, at its exact time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

from av import VideoFrame
from av.error import FFmpegError

from rtstyle.closing import Closing
from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import DeviceFrame, DeviceImage, Frame, Image, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.video.color import RgbReader
from rtstyle.media.video.container import best_video, is_cut_off, open_container, reason
from rtstyle.media.video.decoder import FREE_CLOCK, Decoder, TimedFrame
from rtstyle.media.video.nvcodec import device_image
from rtstyle.media.video.orientation import Orientation, orientation_of


class FileSource(Closing):
    """A video file, decoded by FFmpeg.

    `start` and `duration`, in seconds, cut out a part; its first frame then has time 0. Raises
    `InputNotFoundError`, `MediaError` (no video, damaged) or `UsageError` (a cut outside the file).
    Packets before the first picture that cannot be decoded are skipped with a note, as recordings
    of broadcasts begin with such; later ones end `frames` with `MediaError`. Pictures that the
    decoder repaired are delivered and counted in a note.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None
    orientation: Orientation
    stored_size: tuple[int, int]  # (width, height) of the first picture, before it is turned

    def __init__(
        self,
        path: Path,
        *,
        start: Fraction | None = None,
        duration: Fraction | None = None,
        hwaccel: str = "none",
    ) -> None:
        if start is not None and start < 0:
            raise UsageError(f"The start must be 0 seconds or later, not {float(start):g}.")
        if duration is not None and duration <= 0:
            raise UsageError(
                f"The duration must be longer than 0 seconds, not {float(duration):g}."
            )
        self._open(path, hwaccel)
        try:
            zero = self._clock_start()
            first_wanted = None if start is None else zero + start
            self._end = None if duration is None else zero + (start or 0) + duration
            self._decoded = self._decoder.frames(first_wanted, self._end)
            self._first = self._take_first(start)
            offset = zero if start is None else self._first[1]
            self._describe(offset, start, duration)
        except BaseException:
            self._container.close()
            raise

    def _open(self, path: Path, hwaccel: str) -> None:
        self.notes = []
        self._path = path
        self._container = open_container(path, hwaccel)
        try:
            self._stream = best_video(self._container, path)
            self._stream.thread_type = "AUTO"
            self._tick = self._stream.time_base or Fraction(1, 90_000)
            self._rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
            self._decoder = Decoder(
                self._container,
                self._stream,
                usual_duration=1 / self._rate,
                cut_off=is_cut_off(path),
            )
        except BaseException:
            self._container.close()
            raise

    def _read_as(self, stored_size: tuple[int, int]) -> None:
        self.stored_size = stored_size
        self._reader = RgbReader(*stored_size)

    def _describe(
        self, offset: Fraction, start: Fraction | None, duration: Fraction | None
    ) -> None:
        frame, rate = self._first[0], self._rate
        self.orientation = orientation_of(frame)
        self._read_as((frame.width, frame.height))
        width, height = self.orientation.size(frame.width, frame.height)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        total = self._total_seconds()
        n_frames = self._stream.frames or (round(total * rate) if total else None)
        if n_frames is not None and (start is not None or duration is not None):
            rest = (total or n_frames / rate) - (start or 0)
            wanted = rest if duration is None else min(rest, duration)
            n_frames = max(1, round(wanted * rate))
        self.info = StreamInfo(
            width, height, rate, self._tick, n_frames, self.orientation.pixel_aspect(aspect)
        )
        self.origin = Origin(
            (self._path,), self._stream.index, offset, None if start is None else offset, self._end
        )

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, times exact. Raises `MediaError` after the last good frame."""
        for frame in self.device_frames():
            yield frame.download() if isinstance(frame, DeviceFrame) else frame

    def device_frames(self) -> Iterator[Frame | DeviceFrame]:
        """As `frames`, in its stead: what a GPU has decoded stays there where it can."""
        try:
            for index, (frame, time) in enumerate(self.times()):
                duration = frame.duration * self._tick if frame.duration else None
                image = self._picture(frame)
                if isinstance(image, DeviceImage):
                    yield DeviceFrame(image, time, index, duration)
                else:
                    yield Frame(image, time, index, duration)
        finally:
            self.notes += self.losses().sentences()

    def _picture(self, frame: VideoFrame) -> Image | DeviceImage:
        def download() -> Image:
            return self.orientation.apply(self._reader.read(frame))

        fits = self.orientation.is_upright and (frame.width, frame.height) == self.stored_size
        return (device_image(frame, download) if fits else None) or download()

    def times(self) -> Iterator[TimedFrame]:
        """As `frames`, in its stead: FFmpeg's own frames, not converted, with their times."""
        assert self.origin is not None
        index, time = 0, Fraction(0)
        try:
            for frame, clock in chain([self._first], self._decoded):
                time = clock - self.origin.offset
                yield frame, time
                index += 1
        except FFmpegError as error:
            raise self._damaged(index, time, reason(error)) from error

    def losses(self) -> Losses:
        """What could not be delivered as it was, so far."""
        decoder = self._decoder
        return Losses(
            skipped=decoder.skipped,
            lost=decoder.lost,
            repaired=len(decoder.repaired),
            first_repaired=next(iter(decoder.repaired), Fraction(0)),
            untimed=decoder.untimed,
            remarks=tuple(self._reader.notes),
        )

    def close(self) -> None:
        self._container.close()

    def _clock_start(self) -> Fraction:
        if self._container.format.name not in FREE_CLOCK:
            return Fraction(0)
        starts = [
            s.start_time * s.time_base
            for s in self._container.streams
            if s.start_time is not None and s.time_base
        ]
        # A multiple of the video's tick, so that shifted times stay multiples of it.
        return min(starts, default=Fraction(0)) // self._tick * self._tick

    def _total_seconds(self) -> Fraction | None:
        if self._stream.duration:
            return self._stream.duration * self._tick
        return Fraction(self._container.duration, 1_000_000) if self._container.duration else None

    def _take_first(self, start: Fraction | None) -> TimedFrame:
        try:
            first = next(self._decoded, None)
        except FFmpegError as error:
            raise self._damaged(0, Fraction(0), reason(error)) from error
        if first is not None:
            return first
        if start is None:
            raise MediaError(f"No picture of {self._path} can be decoded; the file is damaged.")
        total = self._total_seconds()
        length = f", which is {float(total):.3f} s long" if total else ""
        raise UsageError(
            f"{self._path}{length} has no frame from {float(start):g} s on; start earlier."
        )

    def _damaged(self, index: int, last: Fraction, why: str) -> MediaError:
        good = f"the last good frame is at {float(last):.3f} s" if index else "no frame is good"
        return MediaError(
            f"{self._path} is damaged: frame {index} cannot be decoded ({why}); {good}."
        )


# What a video lost on its way through the decoder: counted part by part, told once.


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Packets `skipped` before the first picture and `lost` after it, and pictures `repaired` by
    the decoder, the first of them at `first_repaired` seconds, or `untimed` by the file.

    `remarks` are sentences on the pictures, each told once.
    """

    skipped: int = 0
    lost: int = 0
    repaired: int = 0
    first_repaired: Fraction = Fraction(0)
    untimed: int = 0
    remarks: tuple[str, ...] = ()

    def __add__(self, later: Losses) -> Losses:
        """Those of two parts, `later` the one behind."""
        return Losses(
            skipped=self.skipped + later.skipped,
            lost=self.lost + later.lost,
            repaired=self.repaired + later.repaired,
            first_repaired=self.first_repaired if self.repaired else later.first_repaired,
            untimed=self.untimed + later.untimed,
            remarks=tuple(dict.fromkeys((*self.remarks, *later.remarks))),
        )

    def sentences(self) -> list[str]:
        """What a user is told."""
        told = list(self.remarks)
        if self.skipped:
            told.append(f"{self.skipped} packets before the first picture could not be decoded")
        if self.lost:
            told.append(f"{self.lost} packets within the video gave no picture")
        if self.repaired:
            told.append(
                f"{self.repaired} frames are damaged in the file and were painted as the "
                f"decoder repaired them (the first at {float(self.first_repaired):.3f} s)"
            )
        if self.untimed:
            told.append(
                f"the file gives no time for {self.untimed} frames; "
                "each was put one frame duration after the one before"
            )
        return told
