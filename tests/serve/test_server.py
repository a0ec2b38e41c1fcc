"""Who is let in and what is taken: wrong keys, other pages, bombs. The server lives through all."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pytest

from rtstyle.errors import MediaError, UsageError
from tests.serve.bomb import png_bomb
from tests.serve.conftest import Running

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'rtstyle[live]'")
pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

from rtstyle.serve.auth import ServeOptions  # noqa: E402
from rtstyle.serve.pictures import decode_upload, picture_size  # noqa: E402

Serving = Callable[..., Running]


def visit(work: Callable[[Any], Awaitable[Any]], **headers: str) -> Any:
    """Run `work` with a client."""

    async def run() -> Any:
        async with aiohttp.ClientSession(headers=headers) as client:
            return await asyncio.wait_for(work(client), 60)

    return asyncio.run(run())


def status_of(url: str, method: str = "GET", data: bytes | None = None, **headers: str) -> int:
    async def ask(client: Any) -> int:
        async with client.request(method, url, data=data, allow_redirects=False) as response:
            await response.read()
            return response.status

    status: int = visit(ask, **headers)
    return status


def flood(running: Running, path: str) -> None:
    """Send messages to a web socket and read no answer, until it is cut off."""
    parts = urlsplit(running.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
        key = base64.b64encode(bytes(16)).decode()
        line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {base(running)}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 101")
        text = json.dumps({"do": "x" * 100}).encode()
        message = bytes([0x81, 0x80 | len(text)]) + bytes(4) + text  # masked with zeros
        with pytest.raises(ConnectionError):  # cut off once all buffers are full of answers
            line.sendall(message * 300_000)


def base(running: Running) -> str:
    parts = urlsplit(running.url)
    return f"{parts.scheme}://{parts.netloc}"


def test_the_key_opens_and_nothing_else_does(serving: Serving) -> None:
    running = serving(key="correct horse")
    url = base(running)
    assert parse_qs(urlsplit(running.url).query) == {"key": ["correct horse"]}
    assert status_of(running.url) == 303  # to the page without the key, which is a cookie now
    assert status_of(f"{url}/gallery?key=correct%20horse") == 200
    for path in ("/", "/?key=wrong", "/app.js", "/gallery", "/live", "/thumbnails/dark"):
        assert status_of(url + path) == 403, path
    assert status_of(f"{url}/paintings?key=wrong", "POST", b"x", Origin=url) == 403
    assert status_of(running.url) == 303


def test_other_pages_are_refused(serving: Serving) -> None:
    running = serving()
    url = base(running)
    assert status_of(url) == 200
    assert status_of(f"{url}/paintings", "POST", b"x", Origin="http://evil.example") == 403
    assert status_of(f"{url}/paintings", "POST", b"x") == 403  # no origin at all
    assert status_of(url, Host="evil.example") == 403  # its name, pointed at this machine

    async def connect(client: Any) -> None:
        await client.ws_connect(f"{url}/live")

    for headers in ({"Origin": "http://evil.example"}, {}):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            visit(connect, **headers)
    assert running.n_viewers == 0


def test_uploads_are_measured_before_they_are_decoded(serving: Serving) -> None:
    running = serving()
    url = base(running)
    _, good = cv2.imencode(".jpg", np.full((64, 64, 3), 200, np.uint8))

    async def upload(client: Any) -> dict[str, tuple[int, str]]:
        answers = {}
        async with client.ws_connect(f"{url}/live") as socket:
            viewer = json.loads((await socket.receive()).data)["hello"]["viewer"]
            bodies: dict[str, Any] = {
                "bomb": png_bomb(),
                "100 MB": io.BytesIO(bytes(100_000_000)),
                "text": b"not a picture",
                "empty": b"",
                "good": good.tobytes(),
            }

            async def endless() -> Any:
                for _ in range(100):
                    yield bytes(1_000_000)

            bodies["100 MB, size unknown"] = endless()
            for name, body in bodies.items():
                address = f"{url}/paintings?viewer={viewer}&name=..%2F..%2Fetc%2Fpasswd.jpg"
                try:
                    async with client.post(address, data=body) as response:
                        answer = await response.json()
                        answers[name] = response.status, answer.get("sorry") or answer["name"]
                except aiohttp.ClientConnectionError:  # cut off while it was still sending
                    answers[name] = 413, "megabytes MB"
            async with client.post(f"{url}/paintings?viewer=nobody", data=b"x") as response:
                answers["stranger"] = response.status, ""
        return answers

    answers = visit(upload, Origin=url)
    statuses = {name: status for name, (status, _) in answers.items()}
    assert statuses == {
        "bomb": 415, "100 MB": 413, "text": 415, "empty": 415, "good": 200,
        "100 MB, size unknown": 413, "stranger": 403,
    }  # fmt: skip
    assert "megapixels" in answers["bomb"][1]
    assert "MB" in answers["100 MB"][1]
    assert answers["good"][1] == "“passwd”"
    assert status_of(url) == 200


def test_fifty_visits_opened_and_abandoned(serving: Serving) -> None:
    running = serving(max_viewers=3)
    url = base(running)

    async def crowd(client: Any) -> tuple[int, int]:
        sockets = [await client.ws_connect(f"{url}/live") for _ in range(50)]
        first = [json.loads((await line.receive()).data) for line in sockets]
        for line in sockets[:2]:
            await line.send_str("{")
            await line.send_json({"offer": "v=0 this is no offer"})
            await line.send_json({"do": "style ../../etc/passwd.jpg"})
            await line.send_json({"do": "quit"})
        welcome = sum("hello" in message for message in first)
        return welcome, sum(message == {"full": 3} for message in first)

    assert visit(crowd, Origin=url) == (3, 47)
    for _ in range(100):
        if running.n_viewers == 0:
            break
        asyncio.run(asyncio.sleep(0.1))
    assert running.n_viewers == 0
    assert status_of(url) == 200


def test_strangers_name_no_files(serving: Serving) -> None:
    running = serving()
    url = base(running)

    async def ask(client: Any) -> str:
        async with client.ws_connect(f"{url}/live") as socket:
            await socket.send_json({"do": f"style {__file__}"})
            while True:
                message = json.loads((await socket.receive(timeout=20)).data)
                if "sorry" in message:
                    return str(message["sorry"])

    assert "gallery" in visit(ask, Origin=url)


def test_the_page_asks_for_nothing_from_elsewhere(serving: Serving) -> None:
    running = serving()

    async def headers(client: Any) -> Any:
        async with client.get(running.url) as response:
            return response.headers, await response.text()

    headers_, text = visit(headers)
    assert "default-src 'self'" in headers_["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers_["Content-Security-Policy"]
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_options_that_cannot_be_and_keys_that_must() -> None:
    assert ServeOptions().access_key is None
    public = ServeOptions(host="0.0.0.0")
    assert len(public.access_key or "") >= 16
    assert public.access_key != ServeOptions(host="0.0.0.0").access_key
    assert ServeOptions(host="192.168.1.5").url(80).startswith("http://192.168.1.5:80/?key=")
    for wrong in ({"port": 70_000}, {"max_viewers": 0}, {"key": "short"}, {"tls_cert": "x.pem"}):
        with pytest.raises(UsageError):
            ServeOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_sizes_are_read_from_headers(suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3)).astype(np.uint8)
    data = cv2.imencode(suffix, image)[1].tobytes()
    assert picture_size(data) == (53, 37)
    assert decode_upload(data, max_pixels=10_000).shape == (37, 53, 3)
    with pytest.raises(MediaError, match="megapixels"):
        decode_upload(data, max_pixels=1_000)
    for length in range(0, len(data), 97):  # cut off anywhere: a sentence, never a crash
        try:
            decode_upload(data[:length], max_pixels=10_000)
        except MediaError:
            continue
