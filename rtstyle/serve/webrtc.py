"""What the WebRTC libraries have no setting for, and painted video needs."""

from __future__ import annotations

from aioice import ice
from aiortc.codecs import h264, vpx

# Bits a second to begin with and at most. Brush strokes are all texture: at aiortc's own
# 0.5 and 1.5 million they turn to blocks.
_FIRST_BITRATE, _LARGEST_BITRATE = 1_500_000, 6_000_000

_addresses = ice.get_host_addresses


def prepare_webrtc() -> None:
    """Raise the bit rates, and let a machine without any network talk to itself.

    aioice never offers 127.0.0.1, so that a browser on this very machine could not reach us in a
    train. Applies to every connection made later; more than once does no harm.
    """
    ice.get_host_addresses = _addresses_or_loopback
    vpx.DEFAULT_BITRATE = h264.DEFAULT_BITRATE = _FIRST_BITRATE
    vpx.MAX_BITRATE = h264.MAX_BITRATE = _LARGEST_BITRATE


def _addresses_or_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return _addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6) or ["127.0.0.1"]
