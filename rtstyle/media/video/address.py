"""A video at an http or https address, read as it comes."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from time import monotonic
from typing import Self
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.error import FFmpegError

from rtstyle.errors import MediaError
from rtstyle.media.base import Origin
from rtstyle.media.options import ReadOptions
from rtstyle.media.video.container import FORMATS, reason
from rtstyle.media.video.source import FileSource, refuse_rate

PATIENCE_SECONDS = 30.0  # without a byte, before an address is given up
# What an address may lead to by a redirect: never a file of this machine.
_PROTOCOLS = "http,https,tcp,tls"


class AddressSource(FileSource):
    """A video at an address, otherwise as `FileSource`; its sound is read by a second connection.

    Raises `MediaError` where it cannot be opened, is no video, or sends nothing for 30 seconds.
    """

    @classmethod
    def from_name(cls, name: str, reading: ReadOptions) -> Self:
        """Open the video at the address `name`."""
        refuse_rate(name, reading)
        return cls(name, reading)

    def __init__(self, url: str, reading: ReadOptions | None = None) -> None:
        self._url = url
        super().__init__(without_login(url), reading)

    def _open_container(self, hwaccel: str) -> InputContainer:
        return open_address(self._url)

    def _is_cut_off(self) -> bool:
        return False  # FFmpeg knows from the server how long it is

    def _made_origin(self, offset: Fraction, start: Fraction | None) -> Origin | None:
        return Origin(
            (),
            self._stream.index,
            offset,
            None if start is None else offset,
            self._end,
            partial(open_address, self._url),
        )


def open_address(url: str) -> InputContainer:
    """Open the media file at `url` for reading. Raises `MediaError`."""
    began = monotonic()
    try:
        return av.open(
            url,
            "r",
            container_options={"protocol_whitelist": _PROTOCOLS, "format_whitelist": FORMATS},
            timeout=(PATIENCE_SECONDS, PATIENCE_SECONDS),
            metadata_errors="replace",
        )
    except FFmpegError as error:
        stalled = monotonic() - began >= PATIENCE_SECONDS  # which demuxers report in many ways
        why = f"nothing came for {PATIENCE_SECONDS:g} s" if stalled else reason(error)
        raise MediaError(
            f"{without_login(url)} cannot be painted ({why}); a video file at an http or "
            "https address was expected, check it in a browser."
        ) from error


def without_login(url: str) -> str:
    """The address for messages."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return url.replace(login + at, "", 1)
