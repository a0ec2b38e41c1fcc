"""The commands for programs: the page's rights, one sentence for what is wrong."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.serve.conftest import Running

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'rtstyle[live]'")
pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

from rtstyle.live.remote import open_remotes  # noqa: E402
from rtstyle.serve import program_socket  # noqa: E402
from rtstyle.serve.auth import HOST_HEADER  # noqa: E402
from tests.serve.test_server import base, flood, status_of, visit  # noqa: E402

Serving = Callable[..., Running]


def _key(running: Running) -> dict[str, str]:
    return {HOST_HEADER: parse_qs(urlsplit(running.control_url).query)["host"][0]}


def _post(running: Running, *bodies: object, **headers: str) -> list[tuple[int, dict[str, Any]]]:
    async def ask(client: Any) -> list[tuple[int, dict[str, Any]]]:
        answers = []
        for body in bodies:
            data = body if isinstance(body, str | bytes) else json.dumps(body)
            async with client.post(f"{base(running)}/api/v1/do", data=data) as response:
                answers.append((response.status, await response.json(content_type=None)))
        return answers

    found: list[tuple[int, dict[str, Any]]] = visit(ask, **headers)
    return found


def test_a_program_with_the_host_key_changes_the_run(serving: Serving) -> None:
    running = serving(shared=True)
    assert running.controls is not None
    answers = _post(running, {"do": "style dark"}, {"strength": 0.5}, "mirror on", {"next": 0},
                    **_key(running))  # fmt: skip
    assert [status for status, _ in answers] == [200] * 4
    now = answers[-1][1]["settings"]
    assert (now["style"], now["strength"], now["mirror"]) == ("dark", 0.5, True)
    assert running.controls.settings.style.name == "dark"

    async def state(client: Any) -> Any:
        async with client.get(f"{base(running)}/api/v1/state") as response:
            return await response.json()

    seen = visit(state)
    assert seen["settings"]["style"] == "dark"
    assert (seen["styles"], seen["commands"]) == (["bright", "dark"], [])
    assert "quit" not in visit(state, **_key(running))["commands"]


def test_a_stranger_changes_nothing(serving: Serving) -> None:
    running = serving(shared=True)
    assert running.controls is not None
    before = running.controls.settings
    url = f"{base(running)}/api/v1/do"
    assert status_of(url, "POST", b"next") == 403  # no origin, no key
    assert status_of(url, "POST", b"next", **{HOST_HEADER: "wrong"}) == 403
    assert status_of(url, "POST", b"next", Origin="http://evil.example", **_key(running)) == 403
    assert status_of(url, "POST", b"next", Origin=base(running)) == 400  # one who watches
    for wrong in ("quit", "record", "style /etc/passwd", "dance", '{"do": 3, "x": 1}', "{", b"\xff",
                  '{"strength": [1]}', '{"strength": NaN}', "x" * 9000, "[" * 9000):  # fmt: skip
        ((status, answer),) = _post(running, wrong, **_key(running))
        assert status == 400
        assert 0 < len(answer["sorry"]) < 600
    assert running.controls.settings == before


def test_a_thousand_wrong_messages_over_a_socket_change_nothing(serving: Serving) -> None:
    running = serving(shared=True)
    assert running.controls is not None
    before, rng = running.controls.settings, random.Random(0)
    letters = 'abcdefghi {}[]":0123456789.-\n'

    async def talk(client: Any) -> list[str]:
        async with client.ws_connect(f"{base(running)}/api/v1/socket") as socket:
            for _ in range(1000):
                await socket.send_str("".join(rng.choices(letters, k=rng.randint(1, 60))))
            answers = [json.loads((await socket.receive()).data) for _ in range(1000)]
            return ["sorry" if "sorry" in answer else "done" for answer in answers]

    heard = visit(talk, **_key(running))
    assert heard.count("sorry") >= 990  # white space alone asks for nothing
    assert running.controls.settings == before


def test_sockets_are_few_and_end_when_nothing_is_said(serving: Serving) -> None:
    running = serving(shared=True, max_viewers=2, idle_seconds=1.0)
    url = f"{base(running)}/api/v1/socket"

    async def talk(client: Any) -> None:
        silent = [await client.ws_connect(url, origin=base(running)) for _ in range(2)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(url, origin=base(running))
        assert refused.value.status == 429
        # who only watches keeps no host out, who talks on is not sent away
        async with client.ws_connect(url, headers=_key(running)) as host:
            for _ in range(8):
                await asyncio.sleep(0.25)
                await host.send_str("")
                assert "settings" in json.loads((await host.receive()).data)
            for socket in silent:
                assert (await socket.receive(5)).type in (
                    aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED,
                )  # fmt: skip
            again = await client.ws_connect(url, origin=base(running))
            await again.send_bytes(b"next")
            assert json.loads((await again.receive()).data) == {"sorry": "A command is text."}
            for socket in (*silent, again):
                await socket.close()

    visit(talk)


def test_messages_beyond_a_rate_wait(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_socket, "_PER_SECOND", 100.0)
    monkeypatch.setattr(program_socket, "_BURST", 10.0)
    running = serving(shared=True)

    async def talk(client: Any) -> float:
        async with client.ws_connect(f"{base(running)}/api/v1/socket") as socket:
            start = time.monotonic()
            for _ in range(110):
                await socket.send_str("next")
            for _ in range(110):
                assert "settings" in json.loads((await socket.receive()).data)
            return time.monotonic() - start

    assert visit(talk, **_key(running)) > 0.9


def test_a_program_that_does_not_read_is_cut_off(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_socket, "_SEND_SECONDS", 0.5)
    monkeypatch.setattr(program_socket, "_PER_SECOND", 1e9)
    running = serving(shared=True)
    flood(running, "/api/v1/socket")
    assert status_of(base(running)) == 200


def test_a_socket_ends_with_the_visit_that_it_changes(serving: Serving) -> None:
    running = serving()
    url = base(running)

    async def talk(client: Any) -> Any:
        async with client.ws_connect(f"{url}/live") as page:
            viewer = json.loads((await page.receive()).data)["hello"]["viewer"]
            socket = await client.ws_connect(f"{url}/api/v1/socket?viewer={viewer}")
            await socket.send_str("next")
            assert json.loads((await socket.receive()).data)["settings"]["style"] == "dark"
        await asyncio.sleep(0.5)
        await socket.send_str("next")
        kind = (await socket.receive(5)).type
        await socket.close()
        return kind

    assert visit(talk, Origin=url) is not aiohttp.WSMsgType.TEXT


def test_a_visitor_changes_a_run_of_their_own(serving: Serving) -> None:
    running = serving()
    url = base(running)
    assert status_of(f"{url}/api/v1/state") == 404

    async def talk(client: Any) -> tuple[int, Any]:
        async with client.ws_connect(f"{url}/live") as socket:
            viewer = json.loads((await socket.receive()).data)["hello"]["viewer"]
            async with client.post(f"{url}/api/v1/do?viewer={viewer}", data="next") as response:
                return response.status, await response.json()

    status, answer = visit(talk, Origin=url)
    assert (status, answer["settings"]["style"]) == (200, "dark")


def test_osc_changes_the_run_of_every_visitor(serving: Serving) -> None:
    builder = pytest.importorskip("pythonosc.osc_message_builder", reason="python-osc is missing")
    running, notes = serving(), list[str]()
    url, every_run = base(running), running.every_run
    assert every_run is not None

    def message(command: str, argument: str) -> bytes:
        message = builder.OscMessageBuilder(f"/rtstyle/{command}")
        message.add_arg(argument)
        return bytes(message.build().dgram)

    async def until(socket: Any, style: str) -> None:
        while (await socket.receive_json(timeout=5)).get("settings", {}).get("style") != style:
            pass

    async def talk(client: Any) -> None:
        with ExitStack() as stack:
            open_remotes(stack, every_run, osc="0", midi=None, on_note=notes.append)
            port = int(notes[0].split()[5].strip(";"))
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            async with client.ws_connect(f"{url}/live") as one:
                await until(one, "bright")
                for wrong in (message("style", "/etc/passwd"), message("quit", "1")):
                    sender.sendto(wrong, ("127.0.0.1", port))
                sender.sendto(message("style", "dark"), ("127.0.0.1", port))
                await until(one, "dark")
                async with client.ws_connect(f"{url}/live") as later:
                    await until(later, "dark")

    visit(talk, Origin=url)
    assert "no style '/etc/passwd' in the gallery" in notes[1]
    assert every_run.settings.quitting is False


def test_what_there_is_can_be_read(serving: Serving) -> None:
    running = serving(shared=True)

    async def read(client: Any) -> tuple[Any, str]:
        async with client.get(f"{base(running)}/api/v1/openapi.json") as response:
            document = await response.json()
        async with client.get(f"{base(running)}/api/v1") as response:
            return document, await response.text()

    document, page = visit(read)
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/api/v1/state", "/api/v1/do", "/api/v1/socket"}
    assert "POST /api/v1/do" in page
