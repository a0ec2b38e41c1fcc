"""Pictures from a browser at once, and when they were captured there."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

from aiortc import rtcpeerconnection
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket, RtpPacket

from rtstyle.serve.capture_clock import CaptureClock
from rtstyle.serve.webrtc import PromptJitterBuffer, prepare_webrtc


def packets(*sizes: int, first: int = 65_530) -> list[RtpPacket]:
    """Pictures of so many packets each; the sequence number wraps."""
    made: list[Any] = []
    for picture, size in enumerate(sizes):
        for k in range(size):
            packet: Any = RtpPacket(
                sequence_number=(first + len(made)) % 65_536, timestamp=3000 * picture,
                marker=int(k == size - 1),
            )  # fmt: skip
            packet._data = bytes([picture, k])
            made.append(packet)
    return made


def heard(sent: list[RtpPacket]) -> list[tuple[int, int, bytes]]:
    """After how many packets which picture came, and its data."""
    buffer = PromptJitterBuffer(capacity=512, is_video=True)
    found = []
    for n, packet in enumerate(sent, 1):
        _, frame = buffer.add(packet)
        if frame is not None:
            found.append((n, frame.timestamp, frame.data))
    return found


def test_a_picture_comes_with_its_last_packet() -> None:
    sizes = [3, 1, 1, 5, 2]
    whole = [bytes(b for k in range(size) for b in (i, k)) for i, size in enumerate(sizes)]
    ends = [3, 4, 5, 10, 12]
    assert heard(packets(*sizes)) == [
        (end, 3000 * i, data) for i, (end, data) in enumerate(zip(ends, whole, strict=True))
    ]
    late = packets(*sizes)
    late[1], late[2] = late[2], late[1]  # the marker before the packet that is missing
    assert heard(late)[0] == (3, 0, whole[0])
    padded = packets(2, 2, 1)
    for packet in padded[2:]:
        packet.sequence_number = (packet.sequence_number + 2) % 65_536
    for n in range(2):  # padding after the first picture, of its timestamp
        padding: Any = RtpPacket(sequence_number=(65_532 + n) % 65_536, timestamp=0)
        padding._data = b""
        padded.insert(2 + n, padding)
    assert [(n, time) for n, time, _ in heard(padded)] == [(2, 0), (6, 3000), (7, 6000)]
    rng = random.Random(0)
    for _ in range(50):  # near order: nothing is lost, doubled or put together wrongly
        sent = packets(*sizes, *[2] * 20)
        for i in rng.sample(range(1, len(sent) - 1), 6):
            sent[i], sent[i + 1] = sent[i + 1], sent[i]
        came = heard(sent)
        assert [time for _, time, _ in came] == [3000 * i for i in range(len(came))]
        assert len(came) >= 24
        assert [data for _, _, data in came][:5] == whole


def test_every_connection_has_it() -> None:
    prepare_webrtc()

    async def made() -> str:
        peer = rtcpeerconnection.RTCPeerConnection()
        receiver: Any = peer.addTransceiver("video").receiver
        await peer.close()
        return type(receiver._RTCRtpReceiver__jitter_buffer).__name__

    assert asyncio.run(made()) == "PromptJitterBuffer"


def test_capture_times_are_the_browser_s_own() -> None:
    """RTP 4294967000 is 1,000 s of Unix time; the pictures come after the timestamp's wrap."""
    handled = []

    async def handle(packet: Any) -> None:
        handled.append(packet)

    receiver = SimpleNamespace(
        _handle_rtcp_packet=handle,
        _RTCRtpReceiver__timestamp_mapper=SimpleNamespace(_origin=4_294_966_000),
    )
    sender = SimpleNamespace(_RTCRtpSender__rtp_timestamp=7)
    clock = CaptureClock(sender, receiver)  # type: ignore[arg-type]
    clock.sent(1000)
    assert clock.take() == []  # there was no report yet
    info = RtcpSenderInfo(
        ntp_timestamp=(2_208_988_800 + 1000 << 32) | 1 << 31, rtp_timestamp=4_294_967_000,
        packet_count=0, octet_count=0,
    )  # fmt: skip
    report = RtcpSrPacket(ssrc=1, sender_info=info)
    asyncio.run(receiver._handle_rtcp_packet(report))
    assert handled == [report]
    for rtp, pts in ((8, 1000), (9, 1000 + 9000), (9, 1000 + 18_000), (10, 1000 - 900)):
        sender._RTCRtpSender__rtp_timestamp = rtp  # the third was not sent: the encoder left it out
        clock.sent(pts)
    assert clock.take() == [(8, 1_000_500.0), (9, 1_000_600.0), (10, 1_000_490.0)]
    assert clock.take() == []
