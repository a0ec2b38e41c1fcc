"""What is in a file, as JSON: run in the sandbox, as a damaged file may crash its reader."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from fractions import Fraction
from hashlib import md5
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from rtstyle.errors import RtstyleError
from rtstyle.media import ReadOptions
from rtstyle.media.images import read_picture
from rtstyle.media.video.container import open_container
from rtstyle.media.video.source import FileSource


def main() -> None:
    """`look FILE START DURATION`: print what is there; "-" for no cut."""
    _, path, start, duration = sys.argv
    found = (
        _picture(Path(path))
        if is_picture(Path(path))
        else _video(Path(path), *(None if t == "-" else Fraction(t) for t in (start, duration)))
    )
    print(json.dumps(found))


def is_picture(path: Path) -> bool:
    """Whether the file is one picture."""
    return path.suffix in (".png", ".jpg", ".webp", ".bmp", ".tif")


def _picture(path: Path) -> dict[str, Any]:
    try:
        image, _ = read_picture(path)
    except RtstyleError as error:
        return {"error": str(error)}
    return {"error": "", "size": image.shape[:2]}


def _video(path: Path, start: Fraction | None, duration: Fraction | None) -> dict[str, Any]:
    """Times of the pictures in seconds as the product reads them, how many a plain loop over
    FFmpeg's packets finds, and the packets of every sound."""
    times: list[str] = []
    error, offset = "", Fraction(0)
    try:
        with FileSource(path, ReadOptions(start, duration)) as source:
            offset = source.origin.offset if source.origin else offset
            times.extend(str(time) for _, time in source.times())
    except RtstyleError as wrong:
        error = str(wrong)
    try:
        plain = _plainly_decoded(path)
        sounds = _sounds(path, offset)
    except RtstyleError:
        plain, sounds = 0, []
    return {"error": error, "times": times, "plain": plain, "sounds": sounds}


def _plainly_decoded(path: Path) -> int:
    with open_container(path) as container:
        video = container.streams.best("video")
        if video is None or video.codec_context is None:
            return 0
        count = 0
        with suppress(FFmpegError):
            for packet in container.demux(video):
                with suppress(FFmpegError):
                    count += len(packet.decode())
        return count


def _sounds(path: Path, offset: Fraction) -> list[dict[str, Any]]:
    """Unit of time, and time and md5 of every packet, for each audio stream that has any."""
    with open_container(path) as container:
        streams = list(container.streams.audio)
        found: dict[int, dict[str, Any]] = {
            s.index: {"tick": str(s.time_base or 1), "packets": []} for s in streams
        }
        with suppress(FFmpegError):
            for packet in container.demux(streams) if streams else ():
                if packet.size:
                    tick = packet.time_base or Fraction(1)
                    # Sound has one time; where a file tells two, it is damaged.
                    has_times = packet.pts is not None and packet.dts in (None, packet.pts)
                    time = str((packet.pts or 0) * tick - offset) if has_times else None
                    packets = found[packet.stream.index]["packets"]
                    packets.append((time, _bare(bytes(packet))))
        for stream in streams:
            if stream.codec_context is not None and stream.codec_context.name.startswith("pcm_"):
                found[stream.index]["packets"] = _blocks(found[stream.index]["packets"])
        return [
            sound | {"packets": [(time, md5(data).hexdigest()) for time, data in sound["packets"]]}
            for sound in found.values()
            if sound["packets"]
        ]


def _blocks(packets: list[tuple[str | None, bytes]]) -> list[tuple[str | None, bytes]]:
    """Plain samples in blocks of 240 bytes: containers cut them into packets as they like."""
    data = b"".join(part for _, part in packets)
    first = packets[0][0] if packets else None
    starts = range(0, len(data) - 239, 240)
    return [(None if at else first, data[at : at + 240]) for at in starts]


def _bare(payload: bytes) -> bytes:
    """AAC without the header that broadcasts put before each packet."""
    if len(payload) > 7 and payload[0] == 0xFF and payload[1] & 0xF6 == 0xF0:
        return payload[7 if payload[1] & 1 else 9 :]
    return payload
