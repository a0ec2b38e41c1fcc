"""The page in a real browser: painted video comes back, and every control acts on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.serve.bomb import png_bomb
from tests.serve.chrome import axe_violations, browser, drop, look, until, write_camera
from tests.serve.conftest import Running

pytest.importorskip("aiortc", reason="aiortc is missing: pip install 'rtstyle[live]'")

SHOTS = os.environ.get("RTSTYLE_SCREENSHOTS")  # a folder to keep screenshots in, for looking at


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
    scenes = tmp_path / "scenes.toml"
    scenes.write_text('[night]\nstyle = "dark"\n[noon]\nstyle = "bright"\n')
    process = subprocess.Popen(
        [
            sys.executable, "-m", "rtstyle", "live", "lavfi:testsrc2=size=160x96:rate=15",
            "--to", "web", "--port", "0", "-s", "bright", "--engine", "onnxruntime", "--control",
            "--scenes", str(scenes),
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
            pages[1].click("#scene-next")
            until(lambda: pages[1].input_value("#scene") == "night")
            pages[1].select_option("#scene", "noon")
            until(lambda: look(pages[0]).mean() > 80)
            assert not pages[0].is_visible("#scene")
            pages[1].click("#scene-previous")
            until(lambda: look(pages[0]).mean() < 40)
            for page, name in zip(pages, ("watching", "host"), strict=True):
                shot(page, name)
        stdout, stderr = process.communicate("quit\n", timeout=30)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, stderr
    assert "latency p50" in stdout


def live(page: Any) -> None:
    page.wait_for_selector('body[data-state="live"]', timeout=60_000)


def brightness(page: Any) -> float:
    return float(look(page).mean())


def test_a_recording_keeps_its_size_when_the_pictures_do_not(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    photo = tmp_path / "tall.png"
    cv2.imwrite(str(photo), np.full((320, 240, 3), (30, 30, 220), np.uint8))
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(running.url)
        page.click("#start")
        live(page)
        until(lambda: look(page)[..., 1].mean() > 120)
        page.click("#record")
        until(lambda: page.inner_text("#timer") >= "0:01")
        page.set_input_files("#media", str(photo))  # instead of the camera, taller than wide
        until(lambda: page.evaluate("painted.videoHeight > painted.videoWidth"))
        until(lambda: look(page)[..., 0].mean() > 150)
        page.wait_for_timeout(1500)
        with page.expect_download() as download:
            page.click("#record")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        with page.expect_download() as download:
            page.click("#snapshot")
        snapshot = cv2.imread(str(download.value.path()))
        assert snapshot is not None
        assert snapshot.shape == (320, 240, 3)
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert {picture.shape for picture in pictures} == {(180, 320, 3)}
    assert pictures[0][..., 1].mean() > 110  # the green camera
    middle = pictures[-1][:, 110:210].mean((0, 1))
    assert middle[0] > 150 > middle[1]  # the red photo, whole, between black
    assert pictures[-1][:, :60].mean() < 30


def test_a_picture_dropped_before_the_start_is_the_style(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    red = cv2.imencode(".png", np.full((64, 64, 3), (20, 20, 220), np.uint8))[1].tobytes()
    green = cv2.imencode(".png", np.full((64, 64, 3), (20, 220, 20), np.uint8))[1].tobytes()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        missing: list[str] = []
        page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
        page.goto(running.url)
        until(lambda: page.is_visible("#drop"))
        for name in ("#drop", "#strength"):  # above the fold
            box = page.locator(name).bounding_box()
            assert box["y"] + box["height"] < 900
        drop(page, "mine.png", red)
        live(page)
        until(lambda: look(page)[..., 0].mean() > 150)
        drop(page, "mine.png", green)  # another picture of the same name
        until(lambda: page.inner_text("#current") == "“mine 2”")
        until(lambda: look(page)[..., 1].mean() > 150)
        page.click('.style[data-name="“mine”"]')
        until(lambda: look(page)[..., 0].mean() > 150)
        drop(page, "lies.png", b"no picture")
        until(lambda: "cannot be used" in page.inner_text("#notice"))
        assert missing == [f"{running.url}paintings"] or all("paintings" in u for u in missing)


def test_settings_outlive_end_start_and_reload(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(running.url)
        page.click('.style[data-name="dark"]')  # before the start
        assert page.inner_text("#current") == "Dark"
        page.click("li:has(.style[data-name=dark]) .star")
        assert page.locator(".style").first.get_attribute("data-name") == "dark"
        page.click("#start")
        live(page)
        until(lambda: brightness(page) < 40)
        assert page.get_attribute("#mirror", "aria-pressed") == "true"  # it films its viewer
        page.locator("#strength").fill("0")
        until(lambda: brightness(page) > 60)
        page.click("#stop")
        assert page.is_disabled("#snapshot")
        page.click("#start")
        live(page)
        until(lambda: brightness(page) > 60)
        assert page.input_value("#strength") == "0"
        page.reload()
        until(lambda: page.inner_text("#current") == "Dark")
        assert page.input_value("#strength") == "0"
        assert page.locator(".style").first.get_attribute("data-name") == "dark"


def test_the_page_comes_back_after_a_restart_and_goes_on_recording(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{running.url}?strength=0.5")
        page.click('.style[data-name="dark"]')
        page.click("#start")
        live(page)
        page.click("#record")
        page.wait_for_timeout(1000)
        running.stop()
        until(lambda: "starts again" in page.inner_text("#notice"))
        again = serving(port=running.server.port)
        until(lambda: again.n_viewers == 1)
        until(lambda: 40 < look(page)[..., 1].mean() < 110)
        assert page.inner_text("#current") == "Dark"
        page.wait_for_timeout(1000)
        with page.expect_download() as download:
            page.click("#record")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
    with av.open(str(path)) as file:
        assert sum(1 for _ in file.decode(video=0)) > 20


def test_clean_and_kiosk(serving: Callable[..., Running], tmp_path: Path) -> None:
    running = serving(key="correct horse")
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 640, "height": 360})
        page.goto(f"{running.url}&clean&autostart&style=dark&mirror=0")
        live(page)
        until(lambda: brightness(page) < 40)
        assert "key" not in page.url
        assert page.evaluate("painted.getBoundingClientRect().width") == 640
        for name in ("#bar", ".panel", "#figures"):
            assert not page.is_visible(name)
        page.close()
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{running.url}&kiosk=8")
        live(page)
        for name in ("#stop", "#setup", "#record", "#full"):
            assert not page.is_visible(name)
        page.mouse.move(300, 300)  # the styles fade while nobody is there
        page.click('.style[data-name="dark"]')
        until(lambda: brightness(page) < 40)
        until(lambda: brightness(page) > 60)  # nobody is there: as it began
        page.evaluate("camera.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
        until(lambda: "unplugged" in page.inner_text("#notice"))
        until(lambda: "back" in page.inner_text("#notice"))
        first = look(page)
        until(lambda: np.abs(look(page) - first).max() > 100)  # it moves


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_bars_the_way_of_anybody(
    serving: Callable[..., Running], tmp_path: Path, scheme: str
) -> None:
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        page.goto(running.url)
        page.wait_for_selector(".style img.there")
        assert axe_violations(page) == []
        shot(page, f"welcome-{scheme}")
        page.click("#start")
        live(page)
        page.click("#split")
        page.click("#setup")
        page.wait_for_selector("#handle:not([hidden])")
        assert axe_violations(page) == []
        shot(page, f"live-{scheme}")
        page.click("#full")
        page.mouse.move(300, 300)
        assert page.is_visible("#bar")
        assert axe_violations(page) == []
        shot(page, f"full-{scheme}")
        page.keyboard.press("f")
        page.set_viewport_size({"width": 390, "height": 844})
        assert axe_violations(page) == []
        shot(page, f"phone-{scheme}")


def test_what_a_camera_or_a_microphone_refuses_is_said(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script("""
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          window.refused = "NotAllowedError";
          navigator.mediaDevices.getUserMedia = (wish) => window.asked ? new Promise(() => {})
            : window.refused || wish.audio
            ? Promise.reject(new DOMException("", window.refused || "NotFoundError")) : real(wish);
        """)
        page.goto(running.url)
        page.evaluate("window.asked = 'nobody answers'")
        page.click("#start")
        until(lambda: "Waiting for the camera" in page.inner_text("#progress"))
        page.wait_for_timeout(500)
        assert running.n_viewers == 0  # a question holds no seat
        page.reload()
        page.click("#start")
        until(lambda: "not allowed" in page.inner_text("#problem"))
        page.evaluate("window.refused = ''")
        page.click("#start")
        live(page)
        page.click("#setup")
        page.check("#microphone")
        page.click("#record")
        until(lambda: "No microphone was found" in page.inner_text("#notice"))
        assert page.get_attribute("#record", "aria-pressed") == "true"


SMALLER = """
  const add = RTCPeerConnection.prototype.addTrack;
  RTCPeerConnection.prototype.addTrack = function (...all) {
    const sender = add.apply(this, all), parameters = sender.getParameters();
    parameters.encodings[0].scaleResolutionDownBy = 2;
    sender.setParameters(parameters);
    return sender;
  };
"""


def test_a_snapshot_has_the_size_of_the_camera_whatever_the_network_carries(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(SMALLER)
        page.goto(f"{running.url}?style=dark&strength=0.5")
        page.click("#start")
        live(page)
        until(lambda: page.evaluate("painted.videoWidth") == 160)
        until(lambda: 30 < look(page)[..., 1].mean() < 120)
        page.click("#split")
        with page.expect_download() as download:
            page.click("#snapshot")
        snapshot = cv2.imread(str(download.value.path()))
        assert snapshot is not None
        assert snapshot.shape == (180, 320, 3)
        half_dark = snapshot[150:, 170:, 1].mean()
        assert 40 < half_dark < 110
        assert snapshot[150:, :150, 1].mean() > half_dark + 40  # left of the split, the camera
        edges = np.abs(np.diff(snapshot[90, :, 1].astype(int)))
        assert edges.max() > 15  # a pixel wide, not blurred by scaling
        page.click("#pause")
        until(lambda: page.get_attribute("#pause", "aria-pressed") == "true")
        with page.expect_download() as download:
            page.click("#snapshot")  # what is shown, at its own size
        assert cv2.imread(str(download.value.path())).shape == (90, 160, 3)  # type: ignore[union-attr]


def test_a_server_lets_browsers_paint(
    serving: Callable[..., Running], models: Path, tmp_path: Path
) -> None:
    from rtstyle.errors import RtstyleError
    from rtstyle.model.file import read_model
    from rtstyle.style.style import styles_of
    from rtstyle.web.plan import plan_painting
    from rtstyle.web.runtime import fetch_runtime

    try:
        runtime = fetch_runtime()
    except RtstyleError as error:
        pytest.skip(f"The runtime for browsers is not here: {error}")
    plan = plan_painting(styles_of(read_model(models / "dimming.onnx")), runtime, any_picture=False)
    running = serving(plan=plan, paint="here")
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(running.url)
        assert page.evaluate("crossOriginIsolated")  # so several threads paint
        page.click("#start")
        live(page)
        assert page.get_attribute("body", "data-painted") == "here"
        assert running.n_viewers == 0  # no picture leaves the browser
        until(lambda: look(page)[..., 1].mean() > 120)
        page.keyboard.press("ArrowRight")
        until(lambda: brightness(page) < 40)
        page.locator("#blend").fill("50")
        until(lambda: 60 < look(page)[..., 1].mean() < 110)
        page.locator("#blend").fill("0")
        page.keyboard.press("s")
        until(lambda: look(page)[:, :28, 1].mean() > 110 and look(page)[:, 36:, 1].mean() < 40)
        assert errors == []


FLASHES = """
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
  const context = canvas.getContext("2d");
  let bright = false;
  const draw = () => {
    context.fillStyle = bright ? "#fff" : "#333";
    context.fillRect(0, 0, 64, 36);
  };
  setInterval(draw, 16);
  setInterval(() => {
    bright = !bright;
    draw();
    if (bright) window.flash = performance.now();
  }, 400);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
"""
AGES = """async () => {
  const { ServerVisit } = await import("./server.js");
  const shown = new Map(), { measure } = ServerVisit.prototype;  // RTP → when its flash was shown
  window.rest = [];  // what the page's age leaves unexplained of a flash's way to the screen
  ServerVisit.prototype.measure = function (pictures) {
    for (const [rtp, captured] of pictures) {
      if (!shown.has(rtp)) continue;
      const [flash, presented] = shown.get(rtp);
      window.rest.push(presented - flash - (performance.timeOrigin + presented - captured));
    }
    return window.age = measure.call(this, pictures);
  };
  const one = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pixel = one.getContext("2d", { willReadFrequently: true });
  let before = 255;
  const look = (_, { rtpTimestamp, presentationTime }) => {
    pixel.drawImage(painted, 0, 0, 1, 1);
    const light = pixel.getImageData(0, 0, 1, 1).data[0];
    if (light > 140 && before <= 140) shown.set(rtpTimestamp, [window.flash, presentationTime]);
    before = light;
    painted.requestVideoFrameCallback(look);
  };
  painted.requestVideoFrameCallback(look);
}"""


def test_the_page_knows_how_old_its_pictures_are(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    """By that much it delays the sound of a recording."""
    running = serving()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 640, "height": 360})
        page.add_init_script(FLASHES)
        page.goto(f"{running.url}?strength=1")
        page.click("#start")
        live(page)
        page.evaluate(AGES)
        until(lambda: page.evaluate("rest.length") >= 8, 60)
        assert 0 < page.evaluate("age") < 5000
        rest = sorted(page.evaluate("rest"))
    # A flash is captured within one frame of the camera, which a busy machine makes longer.
    assert -25 < rest[len(rest) // 2] < 100


# As a phone has it: the last camera is the one at the back. Keeps what the progress bar says.
PHONE = """
  const media = navigator.mediaDevices, open = media.getUserMedia.bind(media);
  media.getUserMedia = async (wish) => {
    const back = wish.video?.facingMode === "environment";
    if (back) {
      const ids = (await media.enumerateDevices()).filter((one) => one.kind === "videoinput");
      wish = { ...wish, video: { ...wish.video, deviceId: { exact: ids[3].deviceId } } };
    }
    const stream = await open(wish), [track] = stream.getVideoTracks();
    if (track) {
      const settings = track.getSettings.bind(track);
      track.getSettings = () => ({ ...settings(), facingMode: back ? "environment" : "user" });
    }
    return stream;
  };
  window.said = [];
  addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
    const bar = document.getElementById("progress");
    if (!bar.hidden) window.said.push([Number(bar.ariaValueNow), bar.innerText]);
  }).observe(document.getElementById("progress"), { subtree: true, attributes: true }));
"""


def test_camera_size_and_flip_while_live_on_a_phone(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving()
    with browser(None) as chromium:
        context = chromium.new_context(
            viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
        )
        page = context.new_page()
        page.add_init_script(PHONE)
        page.goto(running.url)
        page.wait_for_selector(".style img.there")
        page.tap("#start")
        live(page)
        said = page.evaluate("said")  # from the click to the first picture
        assert [share for share, _ in said] == sorted(share for share, _ in said)
        assert {"Waiting for the camera …", "Connecting …"} <= {text for _, text in said}

        def camera() -> str:
            return str(page.evaluate("camera.srcObject.getVideoTracks()[0].getSettings().deviceId"))

        first = camera()
        assert page.get_attribute("#mirror", "aria-pressed") == "true"
        page.tap("#setup")
        page.check("#microphone")
        page.tap("#record")
        until(lambda: page.inner_text("#timer") >= "0:01")
        page.tap("#setup")
        page.select_option("#height", "480")
        until(lambda: page.evaluate("camera.videoHeight") == 480)
        other = page.eval_on_selector_all("#cameras option", "options => options[3].value")
        page.select_option("#cameras", other)
        until(lambda: camera() == other)
        page.select_option("#cameras", first)
        until(lambda: camera() == first)
        page.tap("#flip")
        until(lambda: camera() == other)
        until(lambda: page.get_attribute("#mirror", "aria-pressed") == "false")
        until(lambda: page.evaluate("camera.videoHeight") == 480)  # as it was chosen
        before = look(page)
        until(lambda: np.abs(look(page) - before).max() > 60)  # it moves
        page.tap("#frame")  # away from the menu
        with page.expect_download() as download:
            page.tap("#record")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        until(lambda: page.evaluate(FACES) == ["blob:", "blob:"], 60)  # the viewer's own
        page.tap("#full")
        page.wait_for_selector('body[data-idle=""]', state="attached")
        page.wait_for_timeout(400)
        assert page.evaluate("getComputedStyle(bar).opacity") == "0"
        page.touchscreen.tap(195, 300)  # on the picture: its controls come back
        until(lambda: page.evaluate("getComputedStyle(bar).opacity") == "1")
        assert running.n_viewers == 1  # all of it in one visit
    with av.open(str(path)) as file:
        assert len({(frame.width, frame.height) for frame in file.decode(video=0)}) == 1
    with av.open(str(path)) as file:
        loudest = max(np.abs(frame.to_ndarray()).max() for frame in file.decode(audio=0))
    assert loudest > 0.01  # the microphone


FACES = """[...document.querySelectorAll(".style img")].map((one) => one.src.slice(0, 5))"""


def test_two_viewers_have_a_picture_and_a_style_each(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    running = serving(max_viewers=2)
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        pages = [chromium.new_context().new_page() for _ in range(2)]
        held: list[Any] = []
        pages[1].route("**/gallery", lambda route: held.append(route))
        pages[0].route("**/gallery", lambda route: route.abort(), times=1)  # the press asks again
        for page, style in zip(pages, ("bright", "dark"), strict=True):
            with page.expect_request("**/gallery"):
                page.goto(f"{running.url}?style={style}")
            page.click("#start")
            for answer in held:  # that comes after the press
                answer.continue_()
            live(page)
        until(lambda: brightness(pages[0]) > 60 and brightness(pages[1]) < 40)
        pages[1].click('.style[data-name="bright"]')
        pages[0].click('.style[data-name="dark"]')
        until(lambda: brightness(pages[0]) < 40 and brightness(pages[1]) > 60)
        pages[0].click("#stop")
        until(lambda: running.n_viewers == 1)
        first = look(pages[1])
        until(lambda: np.abs(look(pages[1]) - first).max() > 100)  # the other goes on


def test_what_is_chosen_is_seen_in_forced_colours(serving: Callable[..., Running]) -> None:
    """Where the browser takes colours and shadows away, an outline is left."""
    running = serving()
    with browser(None) as chromium:
        page = chromium.new_page(viewport={"width": 1440, "height": 900}, forced_colors="active")
        page.goto(running.url)
        page.wait_for_selector(".style img.there")
        outline = """(names) => names.map((name) => {
          const style = getComputedStyle(document.querySelector(name), "::after");
          return style.outlineStyle;
        })"""
        chosen = ['.style[aria-pressed="true"]', '.style[aria-pressed="false"]']
        assert page.evaluate(outline, chosen) == ["solid", "none"]
        assert axe_violations(page) == []
