"""What aiortc and aioice have no setting for: this reaches into them, and both are pinned."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from aioice import Candidate, ice
from aiortc import rtcrtpreceiver
from aiortc.codecs import h264, vpx
from aiortc.jitterbuffer import JitterBuffer, JitterFrame

# Bits a second at first and at most. Brush strokes are all texture: at aiortc's own 0.5 and 1.5
# million they turn to blocks.
_FIRST_BITRATE, _LARGEST_BITRATE = 1_500_000, 6_000_000
_MOST_CANDIDATES, _LONGEST_OFFER = 32, 32 * 1024
_MDNS_NAME = re.compile(r"[0-9a-f-]{36}\.local", re.IGNORECASE)

_addresses = ice.get_host_addresses
_validate = ice.validate_remote_candidate


def prepare_webrtc() -> None:
    """Raise the bit rates, take pictures as soon as they are complete, let a machine without any
    network talk to itself, and send nothing to names that resolve to addresses that no other
    browser has.

    aioice never offers 127.0.0.1, so that a browser on this very machine could not reach us in a
    train. Applies to every connection made later; more than once does no harm.
    """
    ice.get_host_addresses = _addresses_or_loopback
    ice.validate_remote_candidate = _validate_resolved
    setattr(rtcrtpreceiver, "JitterBuffer", PromptJitterBuffer)  # noqa: B010
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = _FIRST_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = _LARGEST_BITRATE


class PromptJitterBuffer(JitterBuffer):
    """Gives a picture with its last packet, which the marker of RFC 3550, 5.1 names.

    aiortc's own waits for the first packet of the next one: a whole frame of latency.
    """

    _given: int | None = None  # the RTP timestamp of the last picture

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        """The oldest picture, once it is complete."""
        frame = None
        if self._is_video and self._origin is not None:
            while self._at(0) is not None and self._at(0).timestamp == self._given:
                self.remove(1)  # padding, which comes after the marker
            frame = self._marked()
        frame = frame or super()._remove_frame(sequence_number)
        if frame is not None:
            self._given = frame.timestamp
        return frame if frame is not None and frame.data else None

    def _marked(self) -> JitterFrame | None:
        packets: list[Any] = []
        while len(packets) < self.capacity:
            packet = self._at(len(packets))
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(len(packets))
                return JitterFrame(b"".join(p._data for p in packets), packet.timestamp)
        return None

    def _at(self, place: int) -> Any:
        """The packet that is `place` after the next one; None where it has not come."""
        return self._packets[((self._origin or 0) + place) % self.capacity]


def filter_offer(sdp: str, *, from_loopback: bool) -> str:
    """The offer with only those ICE candidates that are answered.

    Those are the addresses that a browser may have: UDP on a port above 1023, of a private or
    public unicast address or a name that mDNS resolves; loopback only for a client on loopback.
    Raises `ValueError` for an offer too long or of anything but one video: aiortc keeps what
    comes for a track that nobody reads.
    """
    lines = sdp.splitlines()
    media = [line.partition(" ")[0] for line in lines if line.startswith("m=")]
    if len(sdp) > _LONGEST_OFFER or media != ["m=video"]:
        raise ValueError("One video was expected in the offer.")
    kept, n_candidates = [], 0
    for line in lines:
        if line[2:].startswith("candidate"):
            n_candidates += 1
            allowed = n_candidates <= _MOST_CANDIDATES
            if not allowed or not _is_answered(line, from_loopback=from_loopback):
                continue
        kept.append(line)
    return "\r\n".join(kept) + "\r\n"


def _is_answered(line: str, *, from_loopback: bool) -> bool:
    """RFC 8839, 5.1: a=candidate:foundation component transport priority address port …"""
    parts = line.split()
    if len(parts) < 8 or parts[2].lower() != "udp" or not parts[5].isdecimal():
        return False
    address = parts[4]
    if not 1024 <= int(parts[5][:6]) <= 65_535:
        return False
    return bool(_MDNS_NAME.fullmatch(address)) or is_browser_address(
        address, from_loopback=from_loopback
    )


def is_browser_address(address: str, *, from_loopback: bool) -> bool:
    """Whether a browser elsewhere may have this IP address, or one here if `from_loopback`."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return from_loopback
    odd = ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return not odd and not (ip.version == 4 and int(ip) >> 24 == 0)


def _addresses_or_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return _addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6) or ["127.0.0.1"]


def _validate_resolved(candidate: Candidate, host: str) -> str:
    """Offers have been filtered; this looks at what mDNS names in them resolved to."""
    if host != candidate.host and not is_browser_address(host, from_loopback=False):
        raise ValueError(f"{candidate.host} resolves to {host}")
    return _validate(candidate, host)
