"""Segments stylized and encoded one after another, each into a file of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import av
from av.error import FFmpegError

from rtstyle.closing import Closing
from rtstyle.errors import EngineError, MediaError, OutputError
from rtstyle.frame import DeviceFrame, Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.video.container import reason
from rtstyle.media.video.decoder import Losses
from rtstyle.media.video.encoder import VideoTrack
from rtstyle.media.video.formats import container_for
from rtstyle.media.video.opening import start_encoding
from rtstyle.media.video.parts import NotCuttableError, Part, PicturesPart, VideoPart, open_part
from rtstyle.metrics import Report
from rtstyle.rendering.engines import Engines, pipeline_of
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import PacketWriter, SegmentResult
from rtstyle.rendering.plan import Segment
from rtstyle.steady import SteadyFilter, lead_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Segments of one settled job to be encoded in order, each into the file that `path` returns
    for its number; `on_frame` gets the report, which counts `resumed` frames of an earlier run."""

    job: RenderJob
    segments: Sequence[Segment]
    path: Callable[[int], Path]
    resumed: int = 0
    on_frame: Callable[[Report], None] = lambda report: None


def encode_segments(batch: Batch, engines: Engines) -> Report:
    """Stylize and encode segments with the engines that their styles need.

    The next one is opened, and the last one finished, while one is encoded. Where the job is
    steadied and the segment before is not encoded here, its end is stylized for that too. If
    damage, a GPU or Ctrl-C ends one early, the frames until then are in the file for -1, and the
    error is raised. A segment's file is the same, byte for byte, wherever and whenever it is made
    with the same versions of everything.
    """
    job = batch.job
    with SegmentsSink(job, batch.segments, batch.path) as sink:
        source = SegmentsSource(job, batch.segments, sink.losses)
        starts = [segment.since for segment in batch.segments if segment.since is not None]
        steady = (
            SteadyFilter(job.steadiness, starts=starts, lead=lead_seconds(source.info.rate))
            if job.is_steadied
            else None
        )
        pipeline = pipeline_of(
            job, engines, source, sink, steady=steady, starts=starts, announces=True
        )
        pipeline.report.resumed = batch.resumed
        try:
            report = pipeline.run(batch.on_frame)
            sink.finish()
        except NotCuttableError:
            raise
        except (MediaError, EngineError, KeyboardInterrupt):
            with suppress(OutputError):
                sink.finish(complete=False)
            raise
        return report


class SegmentsSource(Closing):
    """The frames of several segments, as one source. The next one is opened ahead of its turn.

    `losses` gets those of each segment read to its end, by number. Times and `info` are those of
    the whole video. Of a job that is steadied, the lead of a segment comes before it.
    """

    info: StreamInfo
    notes: list[str]
    origin: Origin | None

    def __init__(
        self, job: RenderJob, segments: Sequence[Segment], losses: dict[int, Losses]
    ) -> None:
        self.notes = []
        video = segments[0].video
        self.info, self.origin = video.info, video.origin
        self._segments = segments
        self._reading = job.reading
        self._leads = job.is_steadied or job.finds_areas
        self._losses = losses

    def frames(self) -> Iterator[Frame]:
        """Every frame in order. Raises what the sources of parts raise."""
        for frame in self.device_frames():
            yield frame.download() if isinstance(frame, DeviceFrame) else frame

    def device_frames(self) -> Iterator[Frame | DeviceFrame]:
        """As `frames`; what a GPU has decoded stays there where it can."""
        with ThreadPoolExecutor(1, "rtstyle-opener") as opener:
            ahead: Future[VideoPart | PicturesPart] | None = None
            try:
                for position, segment in enumerate(self._segments):
                    part = self._open(segment) if ahead is None else ahead.result()
                    ahead = None
                    with part:
                        if position + 1 < len(self._segments):
                            ahead = opener.submit(self._open, self._segments[position + 1])
                        yield from self._lead(position)
                        try:
                            if isinstance(part, VideoPart):
                                yield from part.device_frames()
                            else:
                                yield from part.frames()
                        finally:
                            self._losses[segment.number] = _losses(part)
            finally:
                if ahead is not None and ahead.exception() is None:
                    with ahead.result():
                        pass

    def _lead(self, position: int) -> Iterator[Frame]:
        """The frames just before a segment, where they are not delivered anyway."""
        segment = self._segments[position]
        follows = position > 0 and self._segments[position - 1].number == segment.number - 1
        if not self._leads or segment.since is None or follows:
            return
        begin = segment.since - lead_seconds(self.info.rate)
        lead = Part(segment.before, segment.start)
        with open_part(segment.video, lead, self._reading) as part:
            for frame in part.frames():
                if frame.time >= begin:
                    yield replace(frame, lead=True)

    def _open(self, segment: Segment) -> VideoPart | PicturesPart:
        return open_part(segment.video, segment.part, self._reading)


class SegmentsSink(Closing):
    """Encodes frames into one file a segment; a file is finished while the next one is begun.

    `path` returns the file for a segment's number. `losses` is filled by the source.
    `finish(complete=False)` finishes the last file after the frames so far, as the one for -1.
    """

    takes_device_frames: Literal[True] = True
    notes: list[str]

    def __init__(
        self, job: RenderJob, segments: Sequence[Segment], path: Callable[[int], Path]
    ) -> None:
        self.notes = []
        self.losses: dict[int, Losses] = {}
        self._job, self._segments, self._path = job, segments, path
        self._position = 0
        self._encoder: _SegmentEncoder | None = None
        self._finisher = ThreadPoolExecutor(1, "rtstyle-finisher")
        self._finishing: Future[None] | None = None

    def write(self, frame: Frame) -> None:
        """Encode the next frame. Raises `OutputError`."""
        until = self._segment.until
        with _output_errors(self._job):
            if until is not None and frame.time >= until:
                self._switch()
            if self._encoder is None:
                path = self._path(self._segment.number)
                self._encoder = _SegmentEncoder(self._job, self._segment, path)
            self._encoder.encode(frame)

    def finish(self, *, complete: bool = True) -> None:
        """Wait until the last segment is on the disk. Raises `OutputError`."""
        with _output_errors(self._job):
            if complete:
                self._switch()
            self._wait()
            if not complete and (encoder := self._take_encoder()) is not None:
                encoder.finish(self._segment_losses(), self._path(-1))

    def close(self) -> None:
        self._finisher.shutdown()
        if self._encoder is not None:
            self._encoder.discard()

    @property
    def _segment(self) -> Segment:
        return self._segments[self._position]

    def _switch(self) -> None:
        """Have the segment finished, and go on to the next."""
        self._wait()
        if (encoder := self._take_encoder()) is not None:
            self._finishing = self._finisher.submit(encoder.finish, self._segment_losses())
        self._position = min(self._position + 1, len(self._segments) - 1)

    def _wait(self) -> None:
        if self._finishing is not None:
            finishing, self._finishing = self._finishing, None
            finishing.result()

    def _take_encoder(self) -> _SegmentEncoder | None:
        encoder, self._encoder = self._encoder, None
        return encoder

    def _segment_losses(self) -> Losses:
        return self.losses.pop(self._segment.number, Losses())


class _SegmentEncoder:
    """The encoder of one segment, set up exactly as for the whole output, and its file."""

    def __init__(self, job: RenderJob, segment: Segment, path: Path) -> None:
        container = container_for(job.output)
        self._number = segment.number
        self._n_frames = 0
        # The container that will hold the packets decides how the encoder is set up.
        self._scratch = av.open(io.BytesIO(), "w", format=container.muxer)
        try:
            self._track = VideoTrack(self._scratch, container, segment.video.info, job.writing)
            start_encoding(self._scratch)
            self._file = PacketWriter(path)
        except BaseException:
            self._close_scratch()
            raise

    def encode(self, frame: Frame) -> None:
        self._track.check_size(frame)
        for packet in self._track.encode(frame):
            self._file.write(packet)
        self._n_frames += 1

    def finish(self, losses: Losses, path: Path | None = None) -> None:
        try:
            for packet in self._track.flush():
                self._file.write(packet)
            result = SegmentResult(
                number=self._number,
                frames=self._n_frames,
                tick=self._track.tick,
                end=self._track.end,
                rounded=self._track.rounded,
                extradata=self._track.stream.codec_context.extradata or b"",
                losses=losses,
            )
            self._file.finish(result, path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove an unfinished file; harmless after `finish`."""
        self._file.discard()
        self._close_scratch()

    def _close_scratch(self) -> None:
        with suppress(FFmpegError, OSError, ValueError):
            self._scratch.close()


def _losses(part: VideoPart | PicturesPart) -> Losses:
    if isinstance(part, VideoPart):
        return part.losses()
    return Losses(remarks=tuple(part.notes))


@contextmanager
def _output_errors(job: RenderJob) -> Iterator[None]:
    """Turn what goes wrong in writing into `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except (FFmpegError, OSError) as error:
        why = reason(error) if isinstance(error, FFmpegError) else str(error.strerror or error)
        raise OutputError(
            f"{job.output} cannot be written: {why}; finished segments are kept beside it, and the "
            "same command goes on from there."
        ) from error
