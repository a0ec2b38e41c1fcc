"""Whole packets in a wrong place: times, keyframes, sizes and texts that no encoder would write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from tests.media.clips import picture

Edit = Callable[["list[Packet[Any]]"], None]

_TEXTS = (
    "\x1b[31mred\x1b[0m\x07", "two\nlines\r\nand\ttabs", "x" * 200_000, "\u202egnp.live", "[/bold]",
    "%s%n{0}", "\ufeff", "é" * 1000, "\x01\x02\x7f", "", "=" * 50, "🎨" * 5000,
)  # fmt: skip


def rewrite(source: Path, target: Path, edit: Edit, *, muxer: str | None = None) -> None:
    """Copy every packet, the video's as `edit` leaves them; what the muxer refuses is left out."""
    with av.open(str(source)) as given, av.open(str(target), "w", format=muxer) as output:
        streams = {}
        for stream in given.streams:
            with suppress(FFmpegError, ValueError):
                streams[stream.index] = output.add_stream_from_template(stream, opaque=True)
        if any(s.index not in streams for s in given.streams.video):
            return  # this container does not hold it
        packets = [p for p in given.demux() if p.dts is not None or p.pts is not None]
        videos = [p for p in packets if p.stream.type == "video"]
        edit(videos)
        kept = {id(p) for p in videos}
        for packet in packets if _begun(output) else ():
            if packet.stream.type == "video" and id(packet) not in kept:
                continue
            if packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                with suppress(FFmpegError, ValueError, OverflowError):
                    output.mux_one(packet)


def _begun(output: OutputContainer) -> bool:
    """Whether the muxer takes the streams and texts; after its refusal no packet may follow."""
    try:
        output.start_encoding()
    except (FFmpegError, ValueError):
        return False
    return True


def retimed(rng: Random, *, furthest: int = 10**9) -> Edit:
    """Times of the video random, negative, jumping (up to `furthest` seconds), equal or missing."""

    def edit(packets: list[Packet[Any]]) -> None:
        mode, cut = rng.randrange(7), rng.randrange(1, max(2, len(packets)))
        tick = packets[0].time_base or Fraction(1, 25)
        second = round(1 / tick)
        leap = min(rng.choice([1, 10, 3600, 10**5, 10**9]), furthest) * second
        for number, packet in enumerate(packets):
            pts, dts = packet.pts or 0, packet.dts or 0
            match mode:
                case 0:  # random, each not before it is decoded
                    packet.pts = dts + rng.randrange(0, 5 * second)
                case 1:  # before the beginning
                    packet.pts, packet.dts = pts - leap, dts - leap
                case 2 if number >= cut:  # a leap forward
                    packet.pts, packet.dts = pts + leap, dts + leap
                case 3 if number >= cut:  # a leap back
                    packet.pts = pts - min(leap, 10 * second)
                case 4:  # all at once
                    packet.pts = packet.dts = dts // (5 * second)
                case 5:
                    packet.pts = None
                case 6:
                    packet.pts, packet.duration = pts + rng.choice([0, 1, 7]), 0

    return edit


def keyless(rng: Random) -> Edit:
    """Without the first keyframe, without all of them, or without some packets of any kind."""

    def edit(packets: list[Packet[Any]]) -> None:
        mode = rng.randrange(4)
        if mode == 0:
            del packets[0]
        elif mode == 1:
            packets[:] = [p for p in packets if not p.is_keyframe]
        elif mode == 2:
            packets[:] = [p for p in packets if rng.random() > 0.3]
        else:
            packets[:] = packets[rng.randrange(len(packets)) :][::1]

    return edit


def encoded(codec: str, pixel_format: str, size: tuple[int, int], n: int) -> list[Packet[Any]]:
    """`n` pictures of a size, encoded with a stream of their own."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = size  # type: ignore[attr-defined]
    context.pix_fmt = pixel_format  # type: ignore[attr-defined]
    context.time_base = Fraction(1, 25)
    if codec == "libx264":
        context.options = {"preset": "ultrafast", "threads": "1"}
    elif codec.startswith("libvpx"):
        context.options = {"deadline": "realtime", "cpu-used": "8"}
    packets: list[Packet[Any]] = []
    for index in range(n):
        frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
        frame = frame.reformat(format=pixel_format)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += context.encode(frame)  # type: ignore[attr-defined]
    return packets + list(context.encode(None))  # type: ignore[attr-defined]


_RESIZED = {  # file name → codec and pixel format: streams whose packets can change their size
    "a.h264": ("libx264", "yuv420p"), "a.ts": ("libx264", "yuv420p"), "a.m2v": ("mpeg2video",
    "yuv420p"),
    "a.mjpeg": ("mjpeg", "yuvj420p"), "b.avi": ("mjpeg", "yuvj420p"), "c.mov": ("mjpeg",
    "yuvj420p"),
    "d.mkv": ("mjpeg", "yuvj420p"), "e.webm": ("libvpx", "yuv420p"), "f.ivf": ("libvpx-vp9",
    "yuv420p"),
    "g.nut": ("mpeg4", "yuv420p"), "h.mp4": ("mpeg4", "yuv420p"), "i.mkv": ("libx264", "yuv420p"),
    "j.avi": ("ffv1", "yuv420p"), "k.mov": ("png", "rgb24"),
}  # fmt: skip


def resized(folder: Path, rng: Random) -> Path:
    """A video whose pictures change their size on the way."""
    name = rng.choice(sorted(_RESIZED))
    codec, pixel_format = _RESIZED[name]
    path = folder / f"resized{Path(name).suffix}"
    sizes = [rng.choice([(64, 48), (48, 64), (32, 32), (128, 96), (320, 16)]) for _ in range(3)]
    batches = [encoded(codec, pixel_format, size, rng.randrange(1, 6)) for size in sizes]
    raw = path.suffix in (".h264", ".m2v", ".mjpeg")
    if raw:
        path.write_bytes(b"".join(bytes(p) for batch in batches for p in batch))
        return path
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = pixel_format
        for number, packet in enumerate(_flat(batches)):
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), stream
            with suppress(FFmpegError):
                output.mux_one(packet)
    return path


def _flat(batches: list[list[Packet[Any]]]) -> Iterator[Packet[Any]]:
    for batch in batches:
        yield from batch


def tagged(source: Path, target: Path, rng: Random) -> None:
    """A copy whose titles, languages and chapters are control characters, huge, or not UTF-8."""
    with av.open(str(source)) as given, av.open(str(target), "w") as output:
        streams = {}
        for stream in given.streams:
            streams[stream.index] = output.add_stream_from_template(stream, opaque=True)
            for key in rng.sample(["title", "language", "handler_name", "rotate", "comment"], 2):
                streams[stream.index].metadata[key] = rng.choice(_TEXTS)[:60_000].replace("\0", "")
        for key in rng.sample(["title", "artist", "comment", "date", "creation_time", "xyz\nq"], 3):
            output.metadata[key] = rng.choice([*_TEXTS, "PLACEHOLDER!"])
        with suppress(FFmpegError, ValueError, OverflowError):
            output.set_chapters(_chapters(rng))
        for packet in given.demux() if _begun(output) else ():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux_one(packet)
    data = target.read_bytes() or source.read_bytes()
    target.write_bytes(
        data.replace(b"PLACEHOLDER!", b"\xff\xfe\xc3(\x80\xf0\x9f abc"[:12].ljust(12))
    )


def _chapters(rng: Random) -> list[Any]:
    chapters = []
    for number in range(rng.choice([0, 1, 3, 300])):
        start = rng.choice([number * 10, -5, 10**9, rng.randrange(1000)])
        end = start + rng.choice([10, 0, -3, 10**12])
        title = rng.choice(_TEXTS)[:500]
        chapters.append(
            {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000),
             "metadata": {"title": title}}
        )  # fmt: skip
    return chapters


def odd_name(rng: Random, suffix: str) -> str:
    """A file name that is allowed and troublesome."""
    stem = rng.choice(
        ["two\nlines", "\x1b[31mred", "-o", "--style", "100%d", "%s%n", "a*b?", "[x]", "x" * 245,
         " ",
         "file:x", "concat:a|b", "http:", "tab\tname", "\udcff\udcfe", "é" * 120, "a=0.5,b", "…",
         "~",
         "$HOME", "'quote'", "a.mp4.", "\u202eabc", "pipe:0", "crypto:x", "name.part"]
    )  # fmt: skip
    return os.fsdecode(os.fsencode(stem)[: 255 - len(suffix)]) + suffix
