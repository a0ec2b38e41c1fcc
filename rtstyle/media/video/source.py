"""A video file as a source: every frame, upright, in order, at its exact time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

from av import VideoFrame
from av.container import InputContainer
from av.error import FFmpegError

from rtstyle.closing import Closing
from rtstyle.errors import MediaError, UsageError
from rtstyle.frame import DeviceFrame, DeviceImage, Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.options import ReadOptions
from rtstyle.media.video.color import RgbReader, bits_of, high_range, is_hdr, tags_of
from rtstyle.media.video.container import best_video, is_cut_off, open_container, reason
from rtstyle.media.video.decoder import FREE_CLOCK, Decoder, Losses
from rtstyle.media.video.deinterlace import TimedFrame
from rtstyle.media.video.nvcodec import device_image, software_notes
from rtstyle.media.video.orientation import Orientation, orientation_of


class FileSource(Closing):
    """A video file, decoded by FFmpeg.

    A start and a duration cut out a part; its first frame then has time 0. Raises
    `InputNotFoundError`, `MediaError` (no video, damaged) or `UsageError` (a cut outside the file).
    Damage ends `frames` with `MediaError`, after the last good frame. What the decoder skips or
    repairs, see `rtstyle.media.video.decoder.Decoder`, becomes a note.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None
    orientation: Orientation
    stored_size: tuple[int, int]  # (width, height) of the first picture, before it is turned

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> FileSource:
        """Open the video file `name`."""
        refuse_rate(name, reading)
        return FileSource(Path(name), reading)

    def __init__(self, path: Path | str, reading: ReadOptions | None = None) -> None:
        reading = reading or ReadOptions()
        start, duration = reading.start, reading.duration
        if start is not None and start < 0:
            raise UsageError(f"The start must be 0 seconds or later, not {float(start):g}.")
        if duration is not None and duration <= 0:
            raise UsageError(
                f"The duration must be longer than 0 seconds, not {float(duration):g}."
            )
        self._open(path, reading)
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

    def _open(self, path: Path | str, reading: ReadOptions) -> None:
        """Open what `path` names; where it is no file, a subclass does."""
        self.notes = []
        self._path, self._hwaccel = path, reading.hwaccel
        self._keeps_hdr = reading.keep_hdr
        self._container = self._open_container(reading.hwaccel)
        try:
            self._stream = best_video(self._container, path)
            self._stream.thread_type = "AUTO"
            self._tick = self._stream.time_base or Fraction(1, 90_000)
            self._rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
            self._decoder = Decoder(
                self._container,
                self._stream,
                usual_duration=1 / self._rate,
                cut_off=self._is_cut_off(),
                deinterlace=reading.deinterlace,
            )
        except BaseException:
            self._container.close()
            raise

    def _open_container(self, hwaccel: str) -> InputContainer:
        return open_container(Path(self._path), hwaccel)

    def _is_cut_off(self) -> bool:
        return is_cut_off(Path(self._path))

    def _made_origin(self, offset: Fraction, start: Fraction | None) -> Origin | None:
        begin = None if start is None else offset
        return Origin((Path(self._path),), self._stream.index, offset, begin, self._end)

    def _read_as(self, stored_size: tuple[int, int]) -> None:
        self.stored_size = stored_size
        self._reader = RgbReader(*stored_size, keep_hdr=self._keeps_hdr)

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
        range_kept = high_range(frame) if self._keeps_hdr else None
        primaries, transfer = tags_of(frame, keep_hdr=self._keeps_hdr)
        self.info = StreamInfo(
            width,
            height,
            rate,
            self._tick,
            n_frames,
            self.orientation.pixel_aspect(aspect),
            bits=8 if is_hdr(frame) and range_kept is None else bits_of(frame),
            primaries=primaries,
            transfer=transfer,
            high_range=range_kept,
        )
        self._offset, self.origin = offset, self._made_origin(offset, start)

    def frames(self) -> Iterator[Frame]:
        """Every frame in order, times exact. Raises `MediaError` after the last good frame."""
        for frame in self.device_frames():
            yield frame.download() if isinstance(frame, DeviceFrame) else frame

    def device_frames(self) -> Iterator[Frame | DeviceFrame]:
        """As `frames`, in its stead: what a GPU has decoded stays there where it can."""
        try:
            for index, (frame, time) in enumerate(self.times()):
                duration = frame.duration * self._tick if frame.duration else None
                if (on_device := self._device_image(frame)) is not None:
                    yield DeviceFrame(on_device, time, index, duration)
                    continue
                image, gain = self._reader.read_light(frame)
                upright = None if gain is None else self.orientation.apply(gain)
                yield Frame(self.orientation.apply(image), time, index, duration, gain=upright)
        finally:
            self.notes += self.losses().sentences()

    def _device_image(self, frame: VideoFrame) -> DeviceImage | None:
        fits = self.orientation.is_upright and (frame.width, frame.height) == self.stored_size
        return device_image(frame, lambda: self._reader.read(frame)) if fits else None

    def times(self) -> Iterator[TimedFrame]:
        """Instead of `frames`: FFmpeg's frames as decoded, with their times in seconds."""
        index, time = 0, Fraction(0)
        try:
            for frame, clock in chain([self._first], self._decoded):
                time = clock - self._offset
                yield frame, time
                index += 1
        except FFmpegError as error:
            raise self._damaged(index, time, reason(error)) from error

    def losses(self) -> Losses:
        """What could not be delivered as it is in the file, so far."""
        in_software = software_notes(self._hwaccel, self._first[0])
        return self._decoder.losses((*in_software, *self._reader.notes))

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
        # A multiple of the video's tick: shifted times stay multiples of it.
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
        what = "is damaged" if isinstance(self._path, Path) else "breaks off"
        return MediaError(f"{self._path} {what}: frame {index} cannot be decoded ({why}); {good}.")


def refuse_rate(name: str, reading: ReadOptions) -> None:
    """Raise `UsageError` for a rate of what has its own times."""
    if reading.rate is not None:
        raise UsageError(f"A rate applies to pictures; {name} has its own times.")
