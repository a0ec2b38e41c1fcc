"""When the pictures that come back to a browser were captured there."""

from __future__ import annotations

from typing import Any, cast

from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtp import RtcpSrPacket

_EPOCH = 2_208_988_800  # the Unix epoch in seconds of NTP


class CaptureClock:
    """The capture times of pictures that were sent back, by the browser's own clock.

    The browser's sender reports (RFC 3550, 6.4.1) say what time it is by that clock at an RTP
    timestamp of its pictures. The page, which knows when it shows which RTP timestamp of ours,
    takes one from the other. Lives in asyncio. Like webrtc.py, this reaches into aiortc.
    """

    def __init__(self, sender: RTCRtpSender, receiver: RTCRtpReceiver) -> None:
        self._sender, self._receiver = cast(Any, sender), cast(Any, receiver)
        self._report: tuple[int, float] | None = None  # an RTP timestamp, and Unix time in ms
        self._sent: dict[int, float] = {}
        self._last = -1
        self._handle = self._receiver._handle_rtcp_packet
        self._receiver._handle_rtcp_packet = self._read

    def sent(self, pts: int) -> None:
        """Note that the last picture that was sent is what the browser's frame of `pts` shows."""
        origin = self._receiver._RTCRtpReceiver__timestamp_mapper._origin
        if self._report is None or origin is None:
            return
        rtp, now = self._report
        ticks = (pts + origin - rtp + (1 << 31)) % (1 << 32) - (1 << 31)
        last, self._last = self._last, self._sender._RTCRtpSender__rtp_timestamp
        if last != self._last:  # else the encoder left the picture out
            self._sent[self._last] = now + ticks / 90

    def take(self) -> list[tuple[int, float]]:
        """Our RTP timestamps of pictures sent since the last call, and the Unix time in ms at which
        the browser captured each."""
        sent, self._sent = self._sent, {}
        return list(sent.items())

    async def _read(self, packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            ntp = packet.sender_info.ntp_timestamp
            seconds = (ntp >> 32) - _EPOCH + (ntp & 0xFFFFFFFF) / (1 << 32)
            self._report = packet.sender_info.rtp_timestamp, 1000 * seconds
        await self._handle(packet)
