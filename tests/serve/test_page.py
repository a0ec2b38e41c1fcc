"""The page in a real browser: painted video comes back, and every control acts on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.serve.bomb import png_bomb
from tests.serve.chrome import browser, look, write_camera
from tests.serve.conftest import Running

pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

SHOTS = os.environ.get("RTSTYLE_SCREENSHOTS")  # a folder to keep screenshots in, for looking at


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `what` answers as soon as that is true."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return answer


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_a_visit(serving: Callable[..., Running], tmp_path: Path) -> None:
    running = serving(key="correct horse", max_viewers=2)
    painting = tmp_path / "Red Square.png"
    cv2.imwrite(str(painting), np.full((64, 64, 3), (20, 20, 220), np.uint8))
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(running.url)
        assert "key" not in page.url  # it is in a cookie now
        page.wait_for_selector(".style img.there")
        shot(page, "welcome")
        page.click("#start")
        page.wait_for_selector('body[data-state="live"]', timeout=40_000)
        assert running.n_viewers == 1

        def mean() -> tuple[float, float, float]:
            red, green, blue = look(page).mean((0, 1))
            return red, green, blue

        # the bright style copies: the camera's green, and its square moves
        until(lambda: mean()[1] > 120)
        first = look(page)
        until(lambda: np.abs(look(page) - first).max() > 100)
        shot(page, "live")

        page.keyboard.press("ArrowRight")  # to the dark one: not the input any more
        until(lambda: max(mean()) < 40)
        assert page.inner_text("#current") == "Dark"
        page.locator("#blend").fill("50")  # half way back to the bright one
        until(lambda: 60 < mean()[1] < 110)
        page.locator("#blend").fill("0")

        page.locator("#strength").fill("0")  # the picture itself
        until(lambda: mean()[1] > 120)
        page.locator("#strength").fill("100")
        until(lambda: max(mean()) < 40)

        page.click("#split")  # left the camera, right the painting
        until(lambda: look(page)[:, :28, 1].mean() > 110 and look(page)[:, 36:, 1].mean() < 40)
        page.wait_for_selector("#handle:not([hidden])")
        shot(page, "split")
        page.keyboard.press("s")

        page.set_input_files("#file", str(painting))  # like any picture: red all over
        until(lambda: mean()[0] > 150 and mean()[1] < 80)
        assert page.inner_text("#current") == "“Red Square”"
        shot(page, "painting")

        page.click('.style[data-name="bright"]')
        until(lambda: mean()[1] > 120)
        with page.expect_download() as download:
            page.click("#snapshot")
        snapshot = cv2.imread(str(download.value.path()))
        assert snapshot is not None
        assert snapshot[..., 1].mean() > 120
        page.click("#record")
        page.wait_for_timeout(1500)
        with page.expect_download() as download:
            page.click("#record")
        assert Path(download.value.path()).stat().st_size > 2000
        until(lambda: "fps" in page.inner_text("#figures"))

        page.set_viewport_size({"width": 390, "height": 844})
        shot(page, "phone")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, "the page is wider than a phone"
        page.close()  # in mid-stream
        until(lambda: running.n_viewers == 0, 15)
        assert errors == []


def test_what_cannot_be_is_said_on_the_page(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving(max_viewers=1)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_bomb())
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page()
        page.goto(running.url)
        page.click("#start")
        page.wait_for_selector('body[data-state="live"]', timeout=40_000)
        page.set_input_files("#file", str(bomb))
        until(lambda: "megapixels" in page.inner_text("#notice"))
        late = chromium.new_page()
        late.goto(running.url)
        late.click("#start")
        until(lambda: "full" in late.inner_text("#problem"))
        page.click("#stop")
        until(lambda: running.n_viewers == 0, 15)
        late.click("#start")
        late.wait_for_selector('body[data-state="live"]', timeout=40_000)


def test_a_painting_that_all_watch(models: Path, tmp_path: Path) -> None:
    """`rtstyle live --to web`: what the host changes, everybody sees, and stdin ends it."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "rtstyle.cli", "live", "lavfi:testsrc2=size=160x96:rate=15",
            "--to", "web", "--port", "0", "-s", "bright", "--engine", "onnxruntime", "--control",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"RTSTYLE_MODELS": str(models)},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url, control_url = (process.stderr.readline().split()[-1] for _ in range(2))
        with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
            pages = [chromium.new_page() for _ in range(2)]
            for page, address in zip(pages, (url, control_url), strict=True):
                page.goto(address)
                until(lambda page=page: page.inner_text("#start") == "Watch")
                page.click("#start")
                page.wait_for_selector('body[data-state="live"]', timeout=40_000)
            until(lambda: look(pages[0]).mean() > 80)
            assert "?" not in pages[1].url  # the key is in a cookie now
            assert pages[0].is_disabled('.style[data-name="dark"]')
            pages[0].keyboard.press("ArrowRight")
            pages[1].click('.style[data-name="dark"]')
            until(lambda: look(pages[0]).mean() < 40)
            until(lambda: pages[0].inner_text("#current") == "Dark")
            for page, name in zip(pages, ("watching", "host"), strict=True):
                shot(page, name)
        stdout, stderr = process.communicate("quit\n", timeout=30)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, stderr
    assert "latency p50" in stdout
