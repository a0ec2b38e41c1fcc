"""Attacks on the page: nothing ends the program, leaks a path, writes a file or hangs.

`RTSTYLE_ATTACK=10000` sends so many random messages instead of 300.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from rtstyle.errors import UsageError
from rtstyle.live.commands import COMMANDS
from tests.serve.conftest import Running
from tests.serve.test_server import base, flood, status_of, visit

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'rtstyle[live]'")
pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

from aioice import Candidate, ice  # noqa: E402
from aiortc import RTCPeerConnection, VideoStreamTrack  # noqa: E402

from rtstyle.serve import connection, uploads  # noqa: E402
from rtstyle.serve.auth import HOST_HEADER, ServeOptions  # noqa: E402
from rtstyle.serve.webrtc import filter_offer, prepare_webrtc  # noqa: E402

Serving = Callable[..., Running]
N_MESSAGES = int(os.environ.get("RTSTYLE_ATTACK", "300"))
FORBIDDEN = [
    "quit", "QUIT", "Quit", " quit ", "quit\u00a0", "\u2028quit", "quit now", "q\u0000uit",
    "QuIt\t",
    "ＱＵＩＴ", "quıt", "record", "RECORD on", "record\u3000", "snapshot", "Snapshot",
    "style /etc/passwd", "style ../x.onnx", "style x.onnx:bright", "style ~/.ssh/id_rsa",
    "style ./a.jpg", "style bright=1,/etc/passwd=1", "style dimming:bright", "style " + "9" * 5000,
    "style " + "٣" * 5000, "style", "with /etc/passwd", "with " + "1" * 4301, "blend " + "1" * 5000,
    "strength nan", "strength inf", "strength 1e999", "split -inf", "blend 0x1", "color 1",
    "next /etc/passwd", "x" * 5000, "", " ", "\ud800",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_unexpected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No handler raised what it did not mean to."""
    yield
    wrong = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert [f"{r.name}: {r.getMessage()} {r.exc_info}" for r in wrong] == []


async def answers(line: Any, *sent: str) -> list[dict[str, Any]]:
    """What the page hears to these texts, without greetings and figures."""
    for text in sent:
        await line.send_str(text)
    await line.send_str('{"ping": "last"}')
    heard = []
    async for message in line:
        said = json.loads(message.data)
        if said == {"pong": "last"}:
            break
        if not said.keys() & {"hello", "gallery", "settings", "figures"}:
            heard.append(said)
    return heard


def say(url: str, *sent: str, **headers: str) -> list[dict[str, Any]]:
    """One visit that says this; what it heard."""

    async def talk(client: Any) -> list[dict[str, Any]]:
        async with client.ws_connect(f"{url}/live") as line:
            return await answers(line, *sent)

    heard: list[dict[str, Any]] = visit(talk, Origin=url, **headers)
    return heard


def do(*commands: str) -> list[str]:
    return [json.dumps({"do": command}) for command in commands]


def eventually(what: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def test_viewers_watch_and_the_host_key_controls(serving: Serving) -> None:
    running = serving(shared=True)
    controls, url = running.controls, base(running)
    assert controls is not None
    before = controls.settings
    key = running.control_url.partition("host=")[2]
    assert len(key) >= 20
    for headers in ({}, {HOST_HEADER: "wrong"}, {HOST_HEADER: key[:-1]}, {HOST_HEADER: "ü"}):
        heard = say(url, *do(*COMMANDS, *(f"{c} 1" for c in COMMANDS)), **headers)
        assert len(heard) == 2 * len(COMMANDS)
        assert all("not allowed" in answer["sorry"] for answer in heard)
    assert controls.settings == before
    assert say(url, *do("style dark", "strength 0.5"), **{HOST_HEADER: key}) == []
    assert controls.settings.style.name == "dark"
    assert say(url, *do("style bright=1,dark=3"), Cookie=f"rtstyle-host={key}") == []
    assert controls.settings.mixed.vector is not None
    assert controls.settings.mixed.vector.tolist() == [[0.25, 0.75]]
    assert status_of(f"{url}/?host=wrong") == 403
    assert status_of(running.control_url) == 303


@pytest.mark.parametrize("who", ["viewer", "host", "camera"])
def test_forbidden_commands_get_one_sentence_each(
    who: str, serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = serving(shared=who != "camera")
    key = running.control_url.partition("host=")[2]
    headers = {HOST_HEADER: key} if who == "host" else {}
    opened: list[str] = []
    monkeypatch.setattr("rtstyle.live.controls.find_style", opened.append)
    heard = say(base(running), *do(*FORBIDDEN), **headers)
    assert [list(answer) for answer in heard] == [["sorry"]] * len(FORBIDDEN)
    for answer in heard:
        assert "\n" not in answer["sorry"]
        assert len(answer["sorry"]) < 300
        assert str(Path.home()) not in answer["sorry"]
        assert "Traceback" not in answer["sorry"]
    # the same answer for a file that is there and one that is not
    there, missing = say(base(running), *do(f"style {__file__}", "style /no/such.py"), **headers)
    assert there["sorry"].split("'")[::2] == missing["sorry"].split("'")[::2]
    if running.controls is not None:
        settings = running.controls.settings
        assert (settings.quitting, settings.recording, settings.snapshots) == (False, False, 0)
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert status_of(base(running)) == 200


MALFORMED = [
    "", "null", "[]", "0", '"do"', "{", "{}", '{"do": null}', '{"do": ["quit"]}',
    '{"do": {"do": "next"}}',
    '{"do": 1}', '{"offer": 1}', '{"offer": null}', '{"do": "next", "ping": 1}', '{"DO": "quit"}',
    '{"ping": NaN}', '{"ping": 1e999}', '{"ping": {"a": 1}}', '{"ping": [[[]]]}', '{"ping": null}',
    '{"ping": "' + "x" * 65 + '"}', '{"ping": ' + "9" * 5000 + "}", "[" * 20_000, '{"a":' * 9000,
    '{"do": "style \\ud800"}', '{"quit": 1}', "\x00", "\ufeff{}",
]  # fmt: skip


def test_malformed_messages_get_one_sentence_each(serving: Serving) -> None:
    running = serving()
    heard = say(base(running), *MALFORMED)
    assert [list(answer) for answer in heard] == [["sorry"]] * len(MALFORMED)


def test_a_silent_seat_is_given_up(serving: Serving) -> None:
    assert ServeOptions().seat_seconds == 15
    running = serving(max_viewers=4, seat_seconds=0.5)

    async def wait_for_a_seat(client: Any) -> tuple[float, list[Any]]:
        url = f"{base(running)}/live"
        silent = [await client.ws_connect(url) for _ in range(4)]
        start = time.monotonic()
        while True:
            async with client.ws_connect(url) as line:
                first = json.loads((await line.receive()).data)
            if "hello" in first:
                break
            assert first == {"full": 4}
            await asyncio.sleep(0.1)
        waited = time.monotonic() - start
        last = [[m.data async for m in line if "goodbye" in str(m.data)] for line in silent]
        return waited, last

    waited, last = visit(wait_for_a_seat, Origin=base(running))
    assert waited < 8
    assert all("did not ask for video" in said[0] for said in last)
    assert eventually(lambda: running.n_viewers == 0)


def test_a_seat_without_pictures_is_given_up(serving: Serving) -> None:
    """Its page offered video, but no address where that could go."""
    running = serving(seat_seconds=0.5)
    url = base(running)

    async def offer(client: Any) -> list[str]:
        peer = RTCPeerConnection()
        peer.addTrack(VideoStreamTrack())
        await peer.setLocalDescription(await peer.createOffer())
        sdp = [x for x in peer.localDescription.sdp.splitlines() if "candidate" not in x]
        async with client.ws_connect(f"{url}/live") as line:
            await line.send_json({"offer": "\r\n".join(sdp) + "\r\n"})
            said = [json.loads(message.data) async for message in line]
        await peer.close()
        return [one["goodbye"] for one in said if "goodbye" in one]

    assert "firewall" in visit(offer, Origin=url)[0]
    assert eventually(lambda: running.n_viewers == 0)


def test_who_does_not_read_is_cut_off(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SEND_SECONDS", 0.5)
    running = serving(shared=True)
    flood(running, "/live")
    assert eventually(lambda: running.n_viewers == 0)
    assert status_of(base(running)) == 200


def test_candidates_that_no_browser_has_are_not_answered() -> None:
    def kept(
        address: str, *, port: str = "50000", transport: str = "udp", here: bool = False
    ) -> bool:
        line = f"a=candidate:1 1 {transport} 2113937151 {address} {port} typ host generation 0"
        offer = f"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n{line}\r\na=mid:0\r\n"
        found = filter_offer(offer, from_loopback=here)
        assert found.replace(line + "\r\n", "") == offer.replace(line + "\r\n", "")
        return line in found

    name = "3f6b1a52-9c1d-4f3e-8a8e-0d6c1d1d2b11.local"
    for good in ("192.168.1.7", "10.0.0.1", "203.0.113.9", "8.8.8.8", "fd00::7", "2a00::1", name):
        assert kept(good), good
    for bad in (
        "127.0.0.1", "127.1.2.3", "::1", "169.254.169.254", "fe80::1", "224.0.0.251", "ff02::fb",
        "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "localhost", "printer.local", "x.local", "2130706433", "",
        "a" * 36,
    ):  # fmt: skip
        assert not kept(bad), bad
    assert kept("127.0.0.1", here=True)
    assert kept("::1", here=True)
    assert not kept("169.254.1.1", here=True)
    for port in ("53", "0", "65536", "-1", "9" * 5000, "x"):
        assert not kept("192.168.1.7", port=port), port
    assert not kept("192.168.1.7", transport="tcp")
    many = "m=video 9\r\n" + "a=candidate:1 1 udp 1 192.168.1.7 50000 typ host\r\n" * 100
    assert filter_offer(many, from_loopback=True).count("candidate") == 32
    for wrong in ("", "m=video 9\r\n" * 2, "m=audio 9", "m=video 9\r\nm=application 9", "m=videos"):
        with pytest.raises(ValueError, match="One video"):
            filter_offer(wrong, from_loopback=True)


def test_a_viewer_s_video_is_not_received(serving: Serving) -> None:
    """aiortc would keep every frame of it in memory."""
    running = serving(shared=True)
    url = base(running)

    async def offer(client: Any) -> str:
        peer = RTCPeerConnection()
        peer.addTrack(VideoStreamTrack())
        await peer.setLocalDescription(await peer.createOffer())
        async with client.ws_connect(f"{url}/live") as line:
            await line.send_json({"offer": peer.localDescription.sdp})
            async for message in line:
                if "answer" in (said := json.loads(message.data)):
                    break
        await peer.close()
        return str(said["answer"])

    lines = visit(offer, Origin=url).splitlines()
    assert "a=sendonly" in lines
    assert "a=sendrecv" not in lines


def test_names_that_resolve_to_such_addresses_are_not_answered() -> None:
    prepare_webrtc()
    name = Candidate("1", 1, "udp", 1, "3f6b1a52-9c1d-4f3e-8a8e-0d6c1d1d2b11.local", 50000, "host")
    assert ice.validate_remote_candidate(name, "192.168.1.7") == "192.168.1.7"
    for bad in ("127.0.0.1", "169.254.169.254", "224.0.0.1"):
        with pytest.raises(ValueError, match="resolves"):
            ice.validate_remote_candidate(name, bad)


def test_no_response_tells_a_version(serving: Serving) -> None:
    running = serving()
    parts = urlsplit(running.url)
    host = f"Host: {parts.netloc}\r\n"
    requests = [
        f"GET / HTTP/1.1\r\n{host}\r\n", f"GET /no HTTP/1.1\r\n{host}\r\n",
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", f"PUT / HTTP/1.1\r\n{host}\r\n",
        "nonsense\r\n\r\n", f"GET /x{'x' * 20_000} HTTP/1.1\r\n{host}\r\n",
        f"GET /live HTTP/1.1\r\n{host}\r\n",
        f"GET / HTTP/1.1\r\n{host}Origin: http://[::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        *(f"GET {path} HTTP/1.1\r\n{host}Expect: \xff\r\n\r\n" for path in ("/", "/gallery", "/x")),
        f"GET / HTTP/1.1\r\n{host}Cookie: rtstyle-key=\xff\r\n\r\n",
    ]  # fmt: skip
    for request in requests:
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
            line.sendall(request.encode("latin-1"))
            head = line.recv(65_536).decode("latin-1").partition("\r\n\r\n")[0]
        assert "Server: rtstyle" in head.split("\r\n"), request[:40]
        assert "aiohttp" not in head
        assert not head.startswith("HTTP/1.1 5"), request[:40]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "::1", "::"])
def test_printed_addresses_answer(host: str, serving: Serving) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("This machine has no IPv6.")
    running = serving(host=host, shared=True)
    assert status_of(running.url) == (303 if "?" in running.url else 200)
    assert status_of(running.control_url) == 303
    address = urlsplit(running.url).hostname
    assert address == "localhost" or ipaddress.ip_address(address or "") is not None
    with pytest.raises(UsageError, match="not empty"):
        ServeOptions(host=" ")


def test_own_pictures_stay_in_memory_and_are_few(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    running = serving(max_uploads=2)
    url = base(running)

    async def upload(client: Any) -> tuple[list[int], list[str]]:
        async with client.ws_connect(f"{url}/live") as line:
            viewer = json.loads((await line.receive()).data)["hello"]["viewer"]
            statuses = []
            for shade in (50, 100, 150, 200):
                _, png = cv2.imencode(".png", np.full((64, 64, 3), shade, np.uint8))
                address = f"{url}/paintings?viewer={viewer}&name=shade{shade}.png"
                async with client.post(address, data=png.tobytes()) as response:
                    statuses.append(response.status)
            await line.send_str('{"ping": "last"}')
            names: list[str] = []
            async for message in line:
                said = json.loads(message.data)
                names = [row["name"] for row in said.get("gallery", [])] or names
                if "pong" in said:
                    return statuses, names
        return statuses, names

    statuses, names = visit(upload, Origin=url)
    assert statuses == [200] * 4
    assert names == ["bright", "dark", "“shade150”", "“shade200”"]
    assert list(tmp_path.rglob("*")) == []


def test_the_host_s_pictures_leave_the_shared_gallery_with_the_host(serving: Serving) -> None:
    running = serving(shared=True)
    url, controls = base(running), running.controls
    assert controls is not None
    _, png = cv2.imencode(".png", np.full((64, 64, 3), 90, np.uint8))

    async def upload(client: Any) -> list[str]:
        async with client.ws_connect(f"{url}/live") as line:
            viewer = json.loads((await line.receive()).data)["hello"]["viewer"]
            address = f"{url}/paintings?viewer={viewer}&name=own.png"
            async with client.post(address, data=png.tobytes()) as response:
                assert response.status == 200
            return [style.name for style in controls.gallery]

    key = running.control_url.partition("host=")[2]
    names = visit(upload, Origin=url, **{HOST_HEADER: key})
    assert names == ["bright", "dark", "“own”"]
    assert eventually(lambda: [style.name for style in controls.gallery] == ["bright", "dark"])
    assert controls.settings.style.name == "“own”"  # which goes on


def test_uploads_that_trickle_are_given_up(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_UPLOAD_SECONDS", 0.5)
    running = serving(max_viewers=2)
    url = base(running)

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x"
            await asyncio.sleep(0.1)

    async def upload(client: Any) -> list[int]:
        async with client.ws_connect(f"{url}/live") as line:
            viewer = json.loads((await line.receive()).data)["hello"]["viewer"]

            async def post() -> int:
                address = f"{url}/paintings?viewer={viewer}"
                async with client.post(address, data=trickle()) as response:
                    return int(response.status)

            return sorted(await asyncio.gather(*(post() for _ in range(3))))

    assert visit(upload, Origin=url) == [408, 429, 429]


def test_a_viewer_s_picture_does_not_change_a_shared_run(serving: Serving) -> None:
    running = serving(shared=True)
    url = base(running)

    async def upload(client: Any) -> tuple[bool, int]:
        async with client.ws_connect(f"{url}/live") as line:
            hello = json.loads((await line.receive()).data)["hello"]
            address = f"{url}/paintings?viewer={hello['viewer']}&name=x.png"
            async with client.post(address, data=b"x") as response:
                return hello["controls"], response.status

    assert visit(upload, Origin=url) == (False, 403)


def test_random_messages_end_leak_write_and_hang_nothing(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    running, camera = serving(shared=True), serving()
    key = running.control_url.partition("host=")[2]
    rng = random.Random(25)
    visits = [(base(running), {}), (base(running), {HOST_HEADER: key}), (base(camera), {})]

    def attack(count: int) -> None:
        for url, headers in visits:
            for start in range(0, count // len(visits), 100):
                sent = [_message(rng) for _ in range(min(100, count // len(visits) - start))]
                said = json.dumps(say(url, *sent, **headers))
                assert "Traceback" not in said
                assert str(Path.home()) not in said
        assert eventually(lambda: running.n_viewers == camera.n_viewers == 0)

    attack(N_MESSAGES // 3)
    gc.collect()
    before = _resident_mb(), len(os.listdir("/proc/self/fd")), threading.active_count()
    attack(N_MESSAGES)
    gc.collect()
    after = _resident_mb(), len(os.listdir("/proc/self/fd")), threading.active_count()
    print(f"\n{N_MESSAGES} messages: MB, files, threads {before} → {after}")
    assert after[0] < before[0] + 20
    assert after[1] <= before[1] + 5
    assert after[2] <= before[2] + 5
    assert list(tmp_path.rglob("*")) == []
    assert running.controls is not None
    settings = running.controls.settings
    assert (settings.quitting, settings.recording, settings.snapshots) == (False, False, 0)
    assert status_of(base(running)) == status_of(base(camera)) == 200


_PIECES = [
    *COMMANDS, *FORBIDDEN, *MALFORMED, "do", "offer", "ping", "bright", "dark", "bright=0.5,dark=1",
    "0.5", "+0.1", "-9", "on", "off", "/etc/passwd", "../" * 20,
    "a=candidate:1 1 udp 1 127.0.0.1 9999",
    "v=0", "m=video 9 UDP/TLS/RTP/SAVPF 96", "\r\n", "é", "\u202e", "\x7f", "%s", "{}", "💥" * 50,
]  # fmt: skip


def _message(rng: random.Random) -> str:
    """A command, an offer, wrong JSON or noise."""
    words = " ".join(rng.choices(_PIECES, k=rng.randint(1, 3)))[:6000]
    kind = rng.random()
    if kind < 0.6:
        return json.dumps({"do": words})
    if kind < 0.75:
        return json.dumps(
            {rng.choice(["do", "ping", "x"]): rng.choice([None, 1, [words], {}, True])}
        )
    if kind < 0.9:
        return words.encode("utf-8", "replace").decode()
    return "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randint(0, 200)))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
