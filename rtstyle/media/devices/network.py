"""A stream to a server on the network: rtmp, rtsp, srt, udp."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from threading import Event, Thread
from time import perf_counter
from typing import Self
from urllib.parse import urlsplit

import numpy as np

from rtstyle.channel import Channel
from rtstyle.closing import Closing
from rtstyle.errors import OutputError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import SinkRequest
from rtstyle.media.devices.capture import unknown_protocol, without_password
from rtstyle.media.devices.network_process import HEAD
from rtstyle.media.devices.sound import RATE, SoundRing
from rtstyle.media.devices.source import TIME_BASE

_MUXERS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "srt": "mpegts", "udp": "mpegts"}
_CONNECT_SECONDS, _SEND_SECONDS = 10.0, 5.0
_FIRST_RETRY, _LAST_RETRY = 0.5, 8.0


class NetworkSink(Closing):
    """Sends frames as H.264, and `sound` as AAC, to `url`.

    It does so from a separate process, so that a slow server blocks nobody.
    Frames are dropped when the connection is too slow. A connection that breaks or stalls is made
    again with back-off, and `notice` says so meanwhile. Raises `OutputError` when the first one
    fails.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Connect to the server at the address `name`."""
        return cls(name, request.info, sound=request.sound)

    def __init__(
        self,
        url: str,
        info: StreamInfo,
        *,
        bitrate: int = 2_500_000,
        sound: SoundRing | None = None,
    ) -> None:
        self.notes = []
        self.notice = ""
        self._url, self._info, self._bitrate, self._sound = url, info, bitrate, sound
        self._name = without_password(url)
        self._frames: Channel[Frame] = Channel(2, newest_wins=True)
        self._closed = Event()
        self._sender: _Sender | None = self._connect()
        self._thread = Thread(target=self._run, name="rtstyle-network", daemon=True)
        self._thread.start()

    def write(self, frame: Frame) -> None:
        """Hand the frame over; never waits for the network."""
        self._frames.put(frame)
        if (sender := self._sender) is not None and sender.sending_for() > _SEND_SECONDS:
            sender.kill()  # its thread then meets a broken pipe, and connects again

    def finish(self, *, complete: bool = True) -> None:
        """Send the frames that wait, and disconnect."""
        self._frames.close()
        self._thread.join(timeout=_SEND_SECONDS)
        if dropped := self._frames.dropped:
            self.notes.append(f"{dropped} frames were not sent, as {self._name} was too slow")

    def close(self) -> None:
        self._closed.set()
        self._frames.cancel()
        if (sender := self._sender) is not None:
            sender.kill()
        self._thread.join(timeout=_SEND_SECONDS)

    def _connect(self) -> _Sender:
        scheme = urlsplit(self._url).scheme
        sender = _Sender(
            {
                "url": self._url,
                "muxer": _MUXERS[scheme],
                "options": {"rtsp_transport": "tcp"} if scheme == "rtsp" else {},
                "width": self._info.width,
                "height": self._info.height,
                "rate": str(self._info.rate),
                "bitrate": self._bitrate,
                "sound": self._sound is not None,
            },
            self._sound,
        )
        answer = sender.answer()
        if answer == "ready":
            return sender
        sender.kill()
        sender.close()
        if answer == "protocol not found":
            raise OutputError(unknown_protocol(self._url))
        why = answer or "no answer came in time"
        raise OutputError(
            f"{self._name} takes no stream: {why}; check that a server listens there."
        )

    def _run(self) -> None:
        retry_after = _FIRST_RETRY
        for frame in self._frames:
            try:
                if self._sender is None:
                    self._sender = self._connect()
                    self.notice = ""
                self._sender.send(frame)
                retry_after = _FIRST_RETRY
            except OSError as error:
                why = str(error).rstrip(".") if isinstance(error, OutputError) else "broke off"
                self.notice = f"{self._name}: {why}; connecting again"
                if self._sender is not None:
                    self._sender.kill()
                    self._sender.close()
                self._sender = None
                self._closed.wait(retry_after)
                retry_after = min(2 * retry_after, _LAST_RETRY)
        if self._sender is not None:
            self._sender.close()


class _Sender:
    """The other process and the pipe to it. `send` by one thread, `kill` from any."""

    def __init__(self, settings: dict[str, object], sound: SoundRing | None) -> None:
        self._sound, self._sound_at = sound, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtstyle.media.devices.network_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe, self._answers = self._process.stdin, self._process.stdout
        self._began: float | None = None  # when the frame in the pipe began to be sent
        self._zero: Fraction | None = None
        self._answer: Channel[str] = Channel(1)
        Thread(target=self._listen, name="rtstyle-network-answer", daemon=True).start()
        with suppress(OSError):  # it ended at once: no answer will come
            self._pipe.write(json.dumps(settings).encode() + b"\n")
            self._pipe.flush()

    def answer(self) -> str | None:
        """ "ready", or why not; None when no answer came in time."""
        return self._answer.take(_CONNECT_SECONDS)

    def sending_for(self) -> float:
        """Seconds since the frame in the pipe began to be sent; 0 when there is none."""
        began = self._began
        return 0.0 if began is None else perf_counter() - began

    def send(self, frame: Frame) -> None:
        """Hand a frame over, waiting for room. Raises `OSError` when the process has ended."""
        if self._zero is None:
            self._zero, self._sound_at = frame.time, round(frame.time * RATE)
        self._began = perf_counter()
        sound = self._sound_until(frame.time)
        self._pipe.write(HEAD.pack(round((frame.time - self._zero) / TIME_BASE), len(sound)))
        self._pipe.write(sound)
        self._pipe.write(np.ascontiguousarray(frame.image).data)
        self._pipe.flush()
        self._began = None

    def _sound_until(self, time: Fraction) -> bytes:
        if self._sound is None:
            return b""
        start, end = self._sound_at, round((time - self._sound.delay) * RATE)
        self._sound_at = max(start, end)
        return self._sound.get(start, end).tobytes()

    def close(self) -> None:
        """Wait until the rest is sent and the process has ended."""
        with suppress(OSError):
            self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SEND_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it now; harmless when it has ended."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        with self._answers:
            line = self._answers.readline().decode(errors="replace").strip()
        if line:
            self._answer.put(line)
        self._answer.close()
