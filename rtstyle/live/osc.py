"""Commands over OSC (Wright 2002, Open Sound Control 1.0): /rtstyle/style "udnie" and the like.

Every command of `rtstyle.live.commands` is an address, its argument the first argument. What comes
has the rights of the page. Beyond this machine, addresses hold a key: /rtstyle/KEY/style.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from threading import Thread
from time import perf_counter
from typing import Any

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, RtstyleError, UsageError, needs_extra
from rtstyle.live.commands import PAGE, Command, parse, spoken

_QUIET_SECONDS = 1.0  # between two notes on messages that are wrong


class OscServer(Closing):
    """Listens on UDP at "PORT" or "HOST:PORT"; port 0 takes a free one, which `port` says.

    `do` carries out a command, in the thread that listens; `on_note` gets a sentence for what is
    wrong, at most once a second. Raises `UsageError`, `MissingExtraError`, and `OutputError` where
    the port is taken.
    """

    def __init__(
        self, where: str, do: Callable[[Command], None], *, on_note: Callable[[str], None]
    ) -> None:
        host, port = _address(where)
        with needs_extra("control", "OSC"):
            from pythonosc.osc_packet import OscPacket, ParseError
        self._packet: Callable[[bytes], Any] = OscPacket
        self._malformed = (ParseError, ValueError, IndexError, OverflowError, RecursionError)
        self._do, self._on_note, self._noted = do, on_note, -_QUIET_SECONDS
        is_local = ipaddress.ip_address(host).is_loopback
        self.key = "" if is_local else secrets.token_urlsafe(6)
        self._socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise OutputError(
                f"OSC cannot be heard at {host}:{port}: {error.strerror or error}; choose another "
                "port."
            ) from error
        self.port = int(self._socket.getsockname()[1])
        self.prefix = "/rtstyle/" + (f"{self.key}/" if self.key else "")
        self._socket.settimeout(0.5)
        self._closed = False
        self._thread = Thread(target=self._listen, name="rtstyle-osc", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self._socket.close()
        self._thread.join(2.0)

    def take(self, datagram: bytes) -> None:
        """Carry out what a datagram asks for; whatever is wrong with it becomes a note."""
        try:
            for timed in self._packet(datagram).messages:
                message = timed.message
                if command := self._command(message.address, list(message.params)):
                    self._do(command)
        except RtstyleError as error:
            self._note(str(error))
        except self._malformed:
            self._note("An OSC message was not understood.")

    def _command(self, address: str, arguments: list[object]) -> Command | None:
        if not address.startswith(self.prefix) or len(arguments) > 1:
            raise UsageError(f"An OSC address such as {self.prefix}style was expected.")
        text = spoken(address.removeprefix(self.prefix), *arguments)
        return parse(text, PAGE) if text else None

    def _listen(self) -> None:
        while not self._closed:
            try:
                datagram = self._socket.recv(65_536)
            except TimeoutError:
                continue
            except OSError:  # closed
                return
            self.take(datagram)

    def _note(self, sentence: str) -> None:
        if perf_counter() - self._noted >= _QUIET_SECONDS:
            self._noted = perf_counter()
            self._on_note(sentence)


def _address(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host)
        number = int(port)
        if not 0 <= number <= 65_535:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"OSC is heard at a port such as 9000, or at 0.0.0.0:9000, not at {where!r}."
        ) from None
    return host, number
