"""Requests and messages made up by hypothesis: the server answers each, and lives.

`RTSTYLE_FUZZ=100` tries a hundred times as many.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.serve.conftest import Running

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'rtstyle[live]'")
pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

FUZZ = settings(
    max_examples=40 * int(os.environ.get("RTSTYLE_FUZZ", "1")), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
PATHS = [
    "/",
    "/app.js",
    "/gallery",
    "/live",
    "/paintings",
    "/snapshots",
    "/api/v1/state",
    "/api/v1/do",
    "/api/v1/socket",
    "/thumbnails/dark",
    "/thumbnails/",
    "/x",
]
METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "",
]
NAMES = [
    "Host", "Origin", "Cookie", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding",
    "Content-Type", "Content-Encoding", "Range", "Expect", "Sec-WebSocket-Key",
    "Sec-WebSocket-Version", "Sec-WebSocket-Extensions", "If-Modified-Since", "X",
]  # fmt: skip
VALUES = [
    "websocket", "Upgrade", "-1", "0", "5", "99999999999999999999", "chunked", "gzip",
    "100-continue",
    "rtstyle-key=x", "13", "permessage-deflate; server_max_window_bits=99", "http://evil.example",
    "[::1", "localhost:x", "a" * 9000, "bytes=5-1",
]  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6),
                           inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
COMMANDS = [
    "style",
    "mix",
    "blend",
    "strength",
    "color",
    "split",
    "mirror",
    "pause",
    "record",
    "next",
    "quit",
]
SDP = [
    "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "t=0 0", "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0",
    "a=rtpmap:96 VP8/90000", "a=rtpmap:96 H264/0", "a=rtpmap:x", "a=ice-ufrag:x", "a=ice-pwd:x",
    "a=fingerprint:sha-256 00", "a=setup:actpass", "c=IN IP4 0.0.0.0", "a=group:BUNDLE 0 1",
    "a=rtcp-mux",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=audio x y z",
    "a=candidate:1 1 UDP x 1.2.3.4 9",
    "a=ssrc:99999999999 cname:x", "a=sctp-port:x", "a=extmap:x y", "a=fmtp:96 ;;=", "a=sendrecv",
    "m=",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Any:
    """No handler raised what it did not mean to."""
    yield
    wrong = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert [f"{r.name}: {r.getMessage()} {r.exc_info}" for r in wrong] == []


def ask(running: Running, sent: bytes, *, patience: float = 0.2) -> bytes:
    """What the server says to these bytes; b"" when it closes, or waits for more of them."""
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=20) as connection:
        connection.sendall(sent)
        connection.settimeout(patience)
        answer = b""
        try:
            while len(answer) < 64 and (part := connection.recv(4096)):
                answer += part
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


def is_well(running: Running) -> bool:
    host = urlsplit(running.url).netloc.encode()
    answer = ask(running, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", patience=20)
    return answer.startswith(b"HTTP/1.1 200 ")


def test_any_request_is_answered(serving: Callable[..., Running]) -> None:
    running = serving()
    host = urlsplit(running.url).netloc
    text = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20)
    path = st.sampled_from(PATHS) | text.map(lambda t: "/" + t) | text
    query = st.dictionaries(st.sampled_from(["viewer", "name", "key"]) | text, text, max_size=2)
    headers = st.lists(
        st.tuples(st.sampled_from(NAMES) | text, st.sampled_from(VALUES) | text), max_size=5
    )

    @FUZZ
    @given(st.sampled_from(METHODS), path, query, headers, st.booleans(), st.binary(max_size=50))
    @example("CONNECT", "", {}, [], False, b"")  # HTTP/0.9 to aiohttp
    def request(
        method: str,
        path: str,
        query: dict[str, str],
        headers: list[tuple[str, str]],
        own: bool,
        body: bytes,
    ) -> None:
        asked = "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items())
        lines = [
            f"{method} {path}{'?' * bool(asked)}{asked} HTTP/1.1",
            *(f"{k}: {v}" for k, v in headers),
        ]
        if own:
            lines += [f"Host: {host}", f"Origin: http://{host}"]
        answer = ask(running, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
        assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")) or b" 501 " in answer[:16]

    @FUZZ
    @given(st.binary(max_size=200))
    def noise(sent: bytes) -> None:
        assert not ask(running, sent).startswith(b"HTTP/1.1 5")

    request()
    noise()
    assert is_well(running)


def test_any_message_is_answered(serving: Callable[..., Running]) -> None:
    running = serving()
    base = running.url.rstrip("/")
    offer = st.lists(st.sampled_from(SDP), max_size=25).map(
        lambda lines: {"offer": "\r\n".join(lines)}
    )
    wanted = st.tuples(st.sampled_from(COMMANDS), st.text(max_size=15)).map(
        lambda t: {"do": " ".join(t)}
    )
    known = st.dictionaries(st.sampled_from(["do", "offer", "ping"]), JSON, max_size=2)
    messages = st.lists(offer | wanted | known | JSON, min_size=1, max_size=4)

    async def talk(messages: list[Any], raw: str | bytes) -> None:
        async with (
            aiohttp.ClientSession(headers={"Origin": base}) as client,
            client.ws_connect(f"{base}/live") as line,
        ):
            for message in messages:
                await line.send_str(json.dumps(message))
            await (line.send_str(raw) if isinstance(raw, str) else line.send_bytes(raw))
            await line.send_str('{"ping": "last"}')
            async for heard in line:  # until it answers the last, or says goodbye
                if heard.type is not aiohttp.WSMsgType.TEXT:
                    break
                said = json.loads(heard.data)
                if said.get("pong") == "last" or "goodbye" in said:
                    return

    @FUZZ
    @given(messages, st.text(max_size=30) | st.binary(max_size=30))
    def visit(sent: list[Any], raw: str | bytes) -> None:
        asyncio.run(asyncio.wait_for(talk(sent, raw), 30))

    visit()
    for _ in range(100):
        if running.n_viewers == 0:
            break
        asyncio.run(asyncio.sleep(0.1))
    assert running.n_viewers == 0
    assert is_well(running)
