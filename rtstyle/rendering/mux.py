"""Segments joined into one output, with everything that is copied from the input."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from av.packet import Packet
from av.video.stream import VideoStream

from rtstyle.errors import OutputError
from rtstyle.files import Workplace
from rtstyle.media.video.decoder import Losses
from rtstyle.media.video.sink import FileSink
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.packet_file import PacketFile, SegmentResult, StoredPacket
from rtstyle.rendering.plan import Plan


def mux(
    job: RenderJob, plan: Plan, files: Sequence[Path], *, complete: bool, workplace: Workplace
) -> list[str]:
    """Join the segments in `files`, in order from the first on, into the job's output.

    The result is what one encoder would write that starts anew at every segment: times are exact,
    and sound and all else is as in a render in one go. With `complete` false, sound ends with the
    last frame. Returns sentences for the user on everything that is lost. Raises
    `BrokenSegmentError` for a file that is not whole, and what `FileSink` raises; then there is no
    output.
    """
    with open_output(job, plan, workplace) as sink:
        losses = Losses()
        for segment, stored in joined(files):
            if stored is None:
                losses += segment.losses
                _check_encoder(segment, sink, job.output)
                sink.video.rounded += segment.rounded
                continue
            packet = cast("Packet[VideoStream]", Packet(stored.data))
            packet.pts, packet.dts, packet.duration = stored.pts, stored.dts, stored.duration
            packet.is_keyframe = stored.is_keyframe
            sink.adopt(packet, segment.end)
        sink.finish(complete=complete)
        return losses.sentences() + sink.notes


def open_output(job: RenderJob, plan: Plan, workplace: Workplace) -> FileSink:
    """The sink for the packets of all segments. Raises what is wrong with the job's encoder."""
    video = plan.video
    return FileSink(
        job.output, video.info, origin=video.origin, options=job.writing, workplace=workplace
    )


def joined(files: Sequence[Path]) -> Iterator[tuple[SegmentResult, StoredPacket | None]]:
    """The packets of all segments, PTS rising from one to the next, DTS rising throughout.

    Each segment begins with None in place of a packet. Raises `BrokenSegmentError`.

    An encoder with B-frames that starts anew gives its first packets a DTS before their time, which
    is within the previous segment. As x264 does throughout a stream, the DTS of every packet is
    here the PTS `delay` packets before it, in sorted order.
    """
    queue = _first_dts(files)
    last: int | None = None
    for path in files:
        with PacketFile(path) as file:
            yield file.result, None
            moved = risen([pts for pts, _ in file.times()], last)
            shown = sorted(moved.values())
            queue.extend(shown)
            for packet in file.packets():
                dts = packet.dts if len(files) == 1 else queue.popleft()
                yield file.result, replace(packet, pts=moved[packet.pts], dts=dts)
            last = shown[-1] if shown else last


def risen(times: Sequence[int], last: int | None) -> dict[int, int]:
    """Each time, moved where needed to rise from `last` on, as in an uninterrupted track."""
    moved: dict[int, int] = {}
    for time in sorted(times):
        last = time if last is None else max(time, last + 1)
        moved[time] = last
    return moved


def _first_dts(files: Sequence[Path]) -> deque[int]:
    """The DTS of the first packets, which no PTS precedes; as many as the delay."""
    delay, first, begin = 0, list[int](), 0
    for path in files:
        with PacketFile(path) as file:
            times = file.times()
        shown = sorted(pts for pts, _ in times)
        if times and not first:
            first, begin = [dts for _, dts in times], shown[0]
        for place, (pts, dts) in enumerate(times):
            delay = max(
                delay, place - bisect_left(shown, pts), place + 1 - bisect_right(shown, dts)
            )
    if len(first) < delay or (delay and first[delay - 1] >= begin):
        return deque(range(begin - delay, begin))
    return deque(first[:delay])


def _check_encoder(segment: SegmentResult, sink: FileSink, output: Path) -> None:
    extradata = sink.video.stream.codec_context.extradata or b""
    if (segment.extradata, segment.tick) != (extradata, sink.video.tick):
        raise OutputError(
            f"Segment {segment.number} of {output} was encoded by another version of the encoder; "
            "use --no-resume."
        )
