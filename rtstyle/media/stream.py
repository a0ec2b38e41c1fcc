"""A stream from the network as a live source: rtsp, http, https and what lies behind them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from av.error import FFmpegError, ProtocolNotFoundError

from rtstyle.errors import MediaError
from rtstyle.media.av_device import AvDevice, Input
from rtstyle.media.container import reason
from rtstyle.media.live_source import LiveSource, Patience

# What an address may lead to, be it by a redirect or a playlist: its own protocol and what carries
# that, so that nothing from the network makes us read files or speak to what was not asked for.
_WEB = "http,https,httpproxy,tcp,tls,crypto"
_PROTOCOLS = {
    "http": _WEB, "https": _WEB, "rtsp": "rtsp,rtp,srtp,udp,tcp", "rtsps": "rtsps,rtp,srtp,tls,tcp",
    "rtmp": "rtmp,tcp", "srt": "srt", "udp": "udp",
}  # fmt: skip
SCHEMES = tuple(_PROTOCOLS)
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
_BY_SCHEME = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


class StreamSource(LiveSource):
    """Plays `url` and connects again when it breaks; `MediaError` when it cannot at first."""

    def __init__(self, url: str, *, patience: Patience | None = None) -> None:
        name = without_password(url)
        scheme = urlsplit(url).scheme
        allowed = {"protocol_whitelist": _PROTOCOLS[scheme]}
        source = Input(
            name=name, url=url, options=_LOW_DELAY | allowed | _BY_SCHEME.get(scheme, {})
        )

        def connect() -> AvDevice:
            try:
                return AvDevice(source)
            except ProtocolNotFoundError as error:
                raise MediaError(unknown_protocol(url)) from error
            except FFmpegError as error:
                raise MediaError(
                    f"{name} cannot be played: {reason(error)}; check the address."
                ) from error

        super().__init__(name, connect, patience=patience)


def unknown_protocol(url: str) -> str:
    """What to say where FFmpeg was built without the address's protocol, as wheels are for srt."""
    return (
        f"The FFmpeg of this PyAV does not speak {urlsplit(url).scheme}://; use rtmp:// or "
        "rtsp://, or install PyAV built against an FFmpeg that does: pip install --no-binary av av."
    )


def without_password(url: str) -> str:
    """The address for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
