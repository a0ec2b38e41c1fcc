"""Painted segments joined into one output, with everything that is copied from the input."""

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


def assemble(
    job: RenderJob,
    plan: Plan,
    files: Sequence[Path],
    output: Path,
    *,
    complete: bool = True,
    workplace: Workplace | None = None,
) -> list[str]:
    """Join the segments in `files`, in order from the first on, into `output`.

    The result is what one encoder would have left that begins anew at every segment: times are
    exact, and sound and all else is as in a plain render. With `complete` false, sound ends with
    the last picture. Returns sentences for the user on all that is lost. Raises
    `BrokenSegmentError` for a file that is not whole, and what `FileSink` raises; then no output is
    there.
    """
    with open_output(job, plan, output, workplace=workplace) as sink:
        losses = Losses()
        for segment, stored in joined(files):
            if stored is None:
                losses += segment.losses
                _check_encoder(segment, sink, output)
                sink.video.rounded += segment.rounded
                continue
            packet = cast("Packet[VideoStream]", Packet(stored.data))
            packet.pts, packet.dts, packet.duration = stored.pts, stored.dts, stored.duration
            packet.is_keyframe = stored.is_keyframe
            sink.adopt(packet, segment.end)
        sink.finish(complete=complete)
        return losses.sentences() + sink.notes


def open_output(
    job: RenderJob, plan: Plan, output: Path, *, workplace: Workplace | None = None
) -> FileSink:
    """The sink that a segment's packets go to; opened, it shows what is wrong with a job."""
    video = plan.video
    return FileSink(
        output, video.info, origin=video.origin, options=job.writing, workplace=workplace
    )


def joined(files: Sequence[Path]) -> Iterator[tuple[SegmentResult, StoredPacket | None]]:
    """The packets of all segments, PTS rising from one to the next, DTS rising throughout.

    Each segment begins with None in place of a packet. Raises `BrokenSegmentError`.

    An encoder with B-frames that begins anew sends its first packets with a DTS before their time,
    which is within the segment before. As x264 does throughout a stream, every packet has here for
    its DTS the PTS that stands `delay` packets before it when they are sorted.
    """
    coming = _first_dts(files)
    last: int | None = None
    for path in files:
        with PacketFile(path) as file:
            yield file.result, None
            moved = risen([pts for pts, _ in file.times()], last)
            shown = sorted(moved.values())
            coming.extend(shown)
            for packet in file.packets():
                dts = packet.dts if len(files) == 1 else coming.popleft()
                yield file.result, replace(packet, pts=moved[packet.pts], dts=dts)
            last = shown[-1] if shown else last


def risen(times: Sequence[int], last: int | None) -> dict[int, int]:
    """Each time, moved where needed to rise from `last` on, as in a track that never broke off."""
    moved: dict[int, int] = {}
    for time in sorted(times):
        last = time if last is None else max(time, last + 1)
        moved[time] = last
    return moved


def _first_dts(files: Sequence[Path]) -> deque[int]:
    """The DTS of the packets that have no other packet's PTS for it; as many as the delay."""
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
