"""Segments painted one after another, each into a file of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from rtstyle.closing import Closing
from rtstyle.engines.base import Engine
from rtstyle.errors import EngineError, MediaError, OutputError
from rtstyle.frame import CardImage, Frame, StreamInfo
from rtstyle.image import prepare
from rtstyle.media.base import Origin
from rtstyle.media.video.container import reason
from rtstyle.media.video.decoder import Losses
from rtstyle.media.video.encoder import VideoTrack
from rtstyle.media.video.formats import container_for
from rtstyle.media.video.parts import NotCuttableError, PicturesPart, VideoPart, open_part
from rtstyle.metrics import Report
from rtstyle.pipeline import Pipeline
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import PacketWriter, SegmentResult
from rtstyle.rendering.plan import Segment
from rtstyle.style.style import Style


def paint_segments(
    job: RenderJob,
    segments: Sequence[Segment],
    path: Callable[[int], Path],
    *,
    engine: Engine,
    style: Style,
    resumed: int = 0,
    on_frame: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Paint segments one after another, each into the file that `path` tells for its number.

    The next one is opened, and the last one finished, while one is painted. Of a segment that
    damage, a device or Ctrl-C ends, what is painted stands in the file for -1, and the error is
    raised. `job` is settled; `engine` has the model of `style` loaded. A segment's file is the
    same, byte for byte, wherever and whenever it is painted with the same versions of everything.
    `resumed` is for the report.
    """
    announce(job, segments[0], engine, style)
    with SegmentsSink(job, segments, path) as sink:
        source = SegmentsSource(job, segments, sink.losses)
        pipeline = Pipeline(source, engine, sink, style=style, look=job.look)
        pipeline.report.resumed = resumed
        try:
            report = pipeline.run(on_frame)
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

    `losses` is filled by the number of each segment that has been read to its end. Times and `info`
    are those of the whole video.
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
        self.keeps_on_card: Callable[[CardImage], bool] = lambda image: False
        self._hwaccel = job.reading.hwaccel
        self._losses = losses

    def frames(self) -> Iterator[Frame]:
        """Every frame in order. Raises what the sources of parts raise."""
        with ThreadPoolExecutor(1, "rtstyle-opener") as opener:
            ahead: Future[VideoPart | PicturesPart] | None = None
            try:
                for position, segment in enumerate(self._segments):
                    part = self._open(segment) if ahead is None else ahead.result()
                    ahead = None
                    with part:
                        if position + 1 < len(self._segments):
                            ahead = opener.submit(self._open, self._segments[position + 1])
                        try:
                            yield from part.frames()
                        finally:
                            self._losses[segment.number] = _losses(part)
            finally:
                if ahead is not None and ahead.exception() is None:
                    with ahead.result():
                        pass

    def _open(self, segment: Segment) -> VideoPart | PicturesPart:
        part = open_part(segment.video, segment.part, hwaccel=self._hwaccel)
        if isinstance(part, VideoPart):
            part.keeps_on_card = self.keeps_on_card
        return part


class SegmentsSink(Closing):
    """Encodes frames into one file a segment; a file is finished while the next one is begun.

    `target` tells the path of a segment by its number. `results` has what is on the disk, `losses`
    what the source tells of each. `finish(complete=False)` finishes the last file as far as it
    goes, under the path that `target` tells for -1.
    """

    takes_card_images = True
    notes: list[str]

    def __init__(
        self, job: RenderJob, segments: Sequence[Segment], target: Callable[[int], Path]
    ) -> None:
        self.notes = []
        self.results: list[SegmentResult] = []
        self.losses: dict[int, Losses] = {}
        self._job, self._segments, self._target = job, segments, target
        self._position = 0
        self._encoder: _SegmentEncoder | None = None
        self._finisher = ThreadPoolExecutor(1, "rtstyle-finisher")
        self._finishing: Future[SegmentResult] | None = None

    def write(self, frame: Frame) -> None:
        """Encode the next frame. Raises `OutputError`."""
        until = self._segment.until
        try:
            if until is not None and frame.time >= until:
                self._switch()
            if self._encoder is None:
                self._encoder = self._open(self._target(self._segment.number))
            self._encoder.encode(frame)
        except OutputError:
            raise
        except (FFmpegError, OSError) as error:
            raise _cannot_write(self._job, error) from error

    def finish(self, *, complete: bool = True) -> None:
        """See the last segment on the disk. Raises `OutputError`."""
        try:
            if complete:
                self._switch()
            self._take_finished()
            if not complete and self._encoder is not None:
                losses = self.losses.pop(self._segment.number, Losses())
                encoder, self._encoder = self._encoder, None
                self.results.append(encoder.finish(losses, self._target(-1)))
        except OutputError:
            raise
        except (FFmpegError, OSError) as error:
            raise _cannot_write(self._job, error) from error

    def close(self) -> None:
        self._finisher.shutdown()
        if self._encoder is not None:
            self._encoder.discard()

    @property
    def _segment(self) -> Segment:
        return self._segments[self._position]

    def _open(self, path: Path) -> _SegmentEncoder:
        return _SegmentEncoder(self._job, self._segment, path)

    def _switch(self) -> None:
        """Let the segment be finished, and go on to the next."""
        self._take_finished()
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            losses = self.losses.pop(self._segment.number, Losses())
            self._finishing = self._finisher.submit(encoder.finish, losses)
        self._position = min(self._position + 1, len(self._segments) - 1)

    def _take_finished(self) -> None:
        if self._finishing is not None:
            finishing, self._finishing = self._finishing, None
            self.results.append(finishing.result())


class _SegmentEncoder:
    """The encoder of one segment, set up exactly as for the whole output, and its file."""

    def __init__(self, job: RenderJob, segment: Segment, path: Path) -> None:
        container = container_for(job.output)
        self._number = segment.number
        self._n_frames = 0
        # Where the encoder's packets go to in the end decides how it is set up.
        self._scratch = av.open(io.BytesIO(), "w", format=container.muxer)
        try:
            self._track = VideoTrack(self._scratch, container, segment.video.info, job.writing)
            self._scratch.start_encoding()
            self._file = PacketWriter(path)
        except BaseException:
            self._close_scratch()
            raise

    def encode(self, frame: Frame) -> None:
        self._track.check_size(frame)
        for packet in self._track.encode(frame):
            self._file.write(packet)
        self._n_frames += 1

    def finish(self, losses: Losses, path: Path | None = None) -> SegmentResult:
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
        except BaseException:
            self.discard()
            raise
        self._close_scratch()
        return result

    def discard(self) -> None:
        """Remove what there is of the file; harmless after `finish`."""
        self._file.discard()
        self._close_scratch()

    def _close_scratch(self) -> None:
        with suppress(FFmpegError, OSError, ValueError):
            self._scratch.close()


def announce(job: RenderJob, segment: Segment, engine: Engine, style: Style) -> None:
    """An engine that paints its first frames in another way paints all of them alike."""
    if (expect := getattr(engine, "expect", None)) is not None:
        info = segment.video.info
        black = np.zeros((info.height, info.width, 3), np.uint8)
        expect(prepare(black, model=engine.model, look=job.look), style.vector)


def _losses(part: VideoPart | PicturesPart) -> Losses:
    if isinstance(part, VideoPart):
        return part.losses()
    return Losses(remarks=tuple(part.notes))


def _cannot_write(job: RenderJob, error: FFmpegError | OSError) -> OutputError:
    why = reason(error) if isinstance(error, FFmpegError) else str(error.strerror or error)
    return OutputError(
        f"{job.output} cannot be written: {why}; what is painted is kept beside it, and the same "
        "command goes on from there."
    )
