"""The server from outside: health, its end, its own certificate, and what browsers paint with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtstyle.errors import UsageError
from tests.serve.conftest import Running

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'rtstyle[live]'")
pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

Serving = Callable[..., Running]


def get(url: str, **options: Any) -> tuple[int, bytes, Any]:
    """Status, body and headers of an answer."""

    async def ask() -> tuple[int, bytes, Any]:
        async with aiohttp.ClientSession() as client, client.get(url, **options) as response:
            return response.status, await response.read(), response.headers

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_it_says_that_it_is_well(serving: Serving) -> None:
    assert get(f"{serving().url}healthz")[:2] == (200, b"ok")


def test_sigterm_says_goodbye_and_ends_well(models: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rtstyle", "serve", "--port", "0", "-s", "bright",
         "--engine", "onnxruntime"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"RTSTYLE_MODELS": str(models)},
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().split()[1]

    async def visit() -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession(headers={"Origin": url.rstrip("/")}) as client,
            client.ws_connect(f"{url}live") as socket,
        ):
            await socket.receive()
            process.send_signal(signal.SIGTERM)
            return [json.loads(message.data) async for message in socket]

    try:
        messages = asyncio.run(asyncio.wait_for(visit(), 60))
        _, stderr = process.communicate(timeout=60)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert {"goodbye": "The server was stopped."} in messages
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr


def test_a_certificate_of_its_own_is_made_once_and_fits(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path))
    running = serving(self_signed=True)
    certificate, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    assert running.url.startswith("https://")
    assert key.stat().st_mode & 0o077 == 0
    made = certificate.read_bytes()
    trusting = ssl.create_default_context(cafile=str(certificate))
    assert get(running.url, ssl=trusting)[0] == 200
    serving(self_signed=True)
    assert certificate.read_bytes() == made
    certificate.write_text("damaged")
    serving(self_signed=True)
    assert b"BEGIN CERTIFICATE" in certificate.read_bytes()


def test_a_certificate_that_does_not_fit_its_key_is_refused(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtstyle.serve.certificate import own_certificate

    pairs = []
    for name in ("one", "other"):
        monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / name))
        pairs.append(own_certificate())
    with pytest.raises(UsageError, match="no certificate and its key"):
        serving(tls_cert=pairs[0][0], tls_key=pairs[1][1])


def test_the_address_is_also_a_qr_code(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("segno", reason="segno is missing: pip install 'rtstyle[live]'")
    from rtstyle.cli.live import _invite

    _invite("http://192.168.1.5:8765/?key=abcdefgh", show_code=True)
    printed = capsys.readouterr().out
    assert "http://192.168.1.5:8765/?key=abcdefgh" in printed
    assert "▄" in printed or "█" in printed
    _invite("http://127.0.0.1:8765/", show_code=False)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_only_where_browsers_paint_may_they_compile(serving: Serving) -> None:
    running = serving()
    _, _, headers = get(running.url)
    assert "wasm-unsafe-eval" not in headers["Content-Security-Policy"]
    assert "here" not in json.loads(get(f"{running.url}gallery")[1])
    for path in ("models/gallery.onnx", "runtime/..%2f..%2fetc%2fpasswd", "sw.js"):
        assert get(running.url + path)[0] == 404


def test_browsers_get_what_they_paint_with_and_no_other_file(
    serving: Serving, models: Path, tmp_path: Path
) -> None:
    from rtstyle.model.file import read_model
    from rtstyle.style.style import styles_of
    from rtstyle.web.plan import plan_painting
    from rtstyle.web.runtime import BACKENDS, stored

    for names in BACKENDS.values():
        for name in names:
            (tmp_path / stored(name)).write_bytes(name.encode())
    plan = plan_painting(styles_of(read_model(models / "dimming.onnx")), tmp_path)
    running = serving(plan=plan, paint="auto")
    answer = json.loads(get(f"{running.url}gallery")[1])
    assert answer["paint"] == "auto"
    assert [row["vector"] for row in answer["gallery"]] == [[1, 0], [0, 1]]
    for model in answer["here"]["models"].values():
        status, body, headers = get(running.url + model["file"]["url"])
        assert (status, len(body)) == (200, model["file"]["bytes"])
        assert "immutable" in headers["Cache-Control"]
    for backend in answer["here"]["runtime"].values():
        status, body, headers = get(running.url + backend["module"])
        assert (status, headers["Content-Type"]) == (200, "text/javascript")
        assert get(running.url + backend["wasm"]["url"])[0] == 200
    _, _, headers = get(running.url)
    assert "'wasm-unsafe-eval'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    for path in ("models/dimming.onnx", "models/..%2f..%2f..%2fetc%2fpasswd", "runtime/x"):
        assert get(running.url + path)[0] == 404


def test_thumbnails_of_visitors_are_theirs(serving: Serving) -> None:
    running = serving()
    assert get(f"{running.url}thumbnails/dark?viewer=somebody")[0] == 404
    assert get(f"{running.url}thumbnails/dark")[0] == 200
