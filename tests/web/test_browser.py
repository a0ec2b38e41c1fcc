"""The static site in a real browser: it paints what the server paints, offline, and asks nobody."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtstyle.demo import sample_photos
from rtstyle.engines import open_engine
from rtstyle.engines.graph import open_graph
from rtstyle.errors import RtstyleError
from rtstyle.image import Look, finish, prepare
from rtstyle.live.settings import Settings
from rtstyle.masks import fitted
from rtstyle.model.file import read_model
from rtstyle.model.zoo import shipped_folder
from rtstyle.style.encoder import encode, read_style_encoder
from rtstyle.style.style import styles_of
from rtstyle.web.plan import plan_painting
from rtstyle.web.runtime import fetch_runtime
from rtstyle.web.site import build_site
from tests.serve.chrome import axe_violations, browser, drop, kill_gpu, look, until, write_camera

SWIFTSHADER = (
    "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
)  # fmt: skip
HAS_WEBGPU = "async () => Boolean(await navigator.gpu?.requestAdapter())"
# Paints one picture, and encodes one as a style, in a worker of its own.
ASK = """async ([backend, rgba, width, height, style]) => {
  const about = await (await fetch("gallery.json")).json();
  const worker = new Worker("engine.js", { type: "module" });
  const ask = (message) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.error) reject(data.error); else if (data.id) resolve(data);
    };
    worker.postMessage({ id: 1, ...message });
  });
  const row = about.gallery.find((one) => one.name === style);
  const pixels = Uint8ClampedArray.from(rgba);
  await ask({ do: "open", backend, base: document.baseURI, plan: about.here, model: row.model });
  const painted = await ask({ do: "paint", pixels, width, height, raw: true, ...row });
  const any = Object.keys(about.here.models).find((name) => about.here.models[name].encoder);
  const cut = pixels.filter((_, i) => (i >> 2) % width < 96); // of the encoder's stride
  const encoded = await ask({ do: "encode", pixels: cut, width: 96, height, model: any });
  return { pixels: Array.from(painted.pixels), vector: encoded.vector };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the shipped gallery, and of a net of its own, with the real runtime."""
    try:
        runtime = fetch_runtime()
    except RtstyleError as error:
        pytest.skip(f"The runtime for browsers is not here: {error}")
    styles = styles_of(read_model(shipped_folder() / "gallery.onnx"))
    wreck = styles_of(read_model(shipped_folder() / "shipwreck_johnson32.onnx"))[0]
    styles.append(replace(wreck, name="wreck"))
    folder = tmp_path_factory.mktemp("web") / "site"
    plan = plan_painting(styles, runtime)
    gray = cv2.imencode(".jpg", np.full((16, 16, 3), 128, np.uint8))[1].tobytes()
    build_site(folder, plan, styles, Settings(style=styles[0]), thumbnail=lambda style: gray)
    return folder


class Host(http.server.ThreadingHTTPServer):
    """A plain file server, without any special header."""

    def __init__(self, folder: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.address = f"http://localhost:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def cut(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self.server_close()


@pytest.fixture
def host(site: Path) -> Iterator[Host]:
    running = Host(site)
    yield running
    running.cut()


@pytest.fixture
def address(host: Host) -> str:
    return host.address


def live(page: Any) -> None:
    page.wait_for_selector('body[data-state="live"]', timeout=120_000)


@pytest.mark.parametrize(("backend", "flags"), [("wasm", ()), ("webgpu", SWIFTSHADER)])
def test_browsers_paint_what_the_server_paints(
    backend: str, flags: tuple[str, ...], address: str, tmp_path: Path
) -> None:
    photo = cv2.resize(sample_photos()[0], (100, 64), interpolation=cv2.INTER_AREA)
    rgba = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    style = styles_of(read_model(shipped_folder() / "gallery.onnx"))[3]
    with browser(write_camera(tmp_path / "camera.y4m"), *flags) as chromium:
        page = chromium.new_page()
        page.goto(address)
        if backend == "webgpu" and not page.evaluate(HAS_WEBGPU):
            pytest.skip("This Chromium has no SwiftShader for WebGPU.")
        page.set_default_timeout(300_000)
        answer = page.evaluate(ASK, [backend, rgba.ravel().tolist(), 100, 64, style.name])
    painted = np.array(answer["pixels"]).reshape(64, 100, 4)[..., :3]
    with open_engine("onnxruntime", style.model) as engine:
        batch = prepare(photo, model=engine.model, look=Look())
        stylized = engine.submit(batch, style.vector).result()
        expected = finish(stylized, photo, model=engine.model, look=Look())
    assert np.abs(painted - expected.astype(int)).max() <= 1
    assert np.abs(painted - photo.astype(int)).mean() > 10
    any_picture = read_model(shipped_folder() / "any_picture.onnx")
    encoder = read_style_encoder(any_picture)
    expected_vector = encode(encoder, photo[:, :96].copy())[0]
    np.testing.assert_allclose(answer["vector"], expected_vector, atol=2e-3)


def test_after_the_first_visit_no_network_is_needed(host: Host, tmp_path: Path) -> None:
    red = cv2.imencode(".png", np.full((64, 64, 3), (20, 20, 220), np.uint8))[1].tobytes()
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        asked: list[str] = []
        errors: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{host.address}?paint=cpu&height=64")
        page.wait_for_selector(".style img.there")
        udnie = page.inner_text('.style[data-name="udnie"]')
        assert "Udnie\nFrancis Picabia, 1913" in udnie
        page.click("#start")
        live(page)
        until(lambda: "processor" in page.inner_text("#figures"), 60)
        assert axe_violations(page) == []
        first = look(page)
        until(lambda: np.abs(look(page) - first).max() > 40, 60)  # it moves
        page.click('.style[data-name="sanguine"]')
        until(lambda: np.abs(look(page) - first).mean() > 20, 60)
        drop(page, "mine.png", red)
        until(lambda: page.inner_text("#current") == "“mine”", 60)
        hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("blob:", "data:"))}
        assert hosts == {urlsplit(host.address).netloc}
        host.cut()
        page.reload()
        page.wait_for_selector(".style")
        page.click("#start")
        live(page)
        drop(page, "mine.png", red)
        until(lambda: page.inner_text("#current") == "“mine”", 60)
        until(lambda: look(page).std() > 5, 60)
        with page.expect_download(timeout=120_000) as download:
            page.click("#snapshot")
        snapshot = cv2.imread(str(download.value.path()))
        assert snapshot is not None
        assert snapshot.shape == (180, 320, 3)  # all that the camera has
        assert errors == []


def test_what_cannot_be_fetched_is_said_and_the_style_before_goes_on(
    host: Host, tmp_path: Path
) -> None:
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page()
        page.add_init_script(  # so that no other model is fetched ahead
            "Object.defineProperty(navigator, 'connection', { value: { saveData: true } });"
        )
        page.goto(f"{host.address}?paint=cpu&height=64&style=udnie")
        page.click("#start")
        live(page)
        host.cut()
        page.click('.style[data-name="wreck"]')
        until(lambda: "no network" in page.inner_text("#notice"))
        until(lambda: page.inner_text("#current") == "Udnie")
        first = look(page)
        until(lambda: np.abs(look(page) - first).max() > 20, 60)  # it moves


def test_without_a_gpu_the_processor_paints(address: str, tmp_path: Path) -> None:
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page()
        page.goto(f"{address}?paint=gpu&height=64")
        page.click("#start")
        live(page)
        until(lambda: "processor" in page.inner_text("#notice"))
        until(lambda: "processor" in page.inner_text("#figures"), 60)


def test_people_alone_are_seen_over_a_chequerboard(address: str, tmp_path: Path) -> None:
    """The alpha of the canvas is what the net finds in the photograph."""
    photo = cv2.resize(sample_photos()[0], (256, 192), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 900, "height": 700})
        page.goto(f"{address}?height=192&paint=cpu")
        page.wait_for_selector(".style img.there")
        page.set_input_files("#media", str(tmp_path / "photo.png"))
        live(page)
        until(lambda: _alpha(page).min() == 255, 60)
        page.check("#cutout")
        until(lambda: _alpha(page).min() == 0, 60)
        alpha = _alpha(page) > 127
        assert "conic" in page.evaluate("getComputedStyle(canvas).backgroundImage")
    given, columns = fitted(np.asarray(photo, np.uint8))
    net = open_graph(shipped_folder() / "masks" / "person.onnx", threads=1)
    found = net.run(given[None])[0][0][:, columns]
    wanted = cv2.resize(found, (256, 192)) > 0.5
    assert (alpha & wanted).sum() / (alpha | wanted).sum() > 0.95
    assert 0.2 < wanted.mean() < 0.95


def _alpha(page: Any) -> NDArray[np.uint8]:
    read = """[canvas.height, canvas.width, Array.from(canvas.getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 === 3))]"""
    height, width, levels = page.evaluate(read)
    return np.array(levels, np.uint8).reshape(height, width)


def test_a_lost_gpu_is_said_and_it_goes_on(address: str, tmp_path: Path) -> None:
    camera = write_camera(tmp_path / "camera.y4m")
    with browser(camera, *SWIFTSHADER) as chromium:
        page = chromium.new_page(viewport={"width": 640, "height": 480})
        page.goto(f"{address}?paint=gpu&height=32")
        if not page.evaluate(HAS_WEBGPU):
            pytest.skip("This Chromium has no SwiftShader for WebGPU.")
        page.click("#start")
        live(page)
        kill_gpu(camera)
        until(lambda: re.search("anew|processor", page.inner_text("#notice")), 120)
        assert page.get_attribute("body", "data-state") == "live"


def test_a_photo_is_painted_and_one_of_lies_is_refused(address: str, tmp_path: Path) -> None:
    from tests.serve.bomb import png_bomb

    photo, bomb = tmp_path / "photo.png", tmp_path / "bomb.png"
    cv2.imwrite(str(photo), sample_photos()[0][:128, :96, ::-1])
    bomb.write_bytes(png_bomb())
    with browser(write_camera(tmp_path / "camera.y4m")) as chromium:
        page = chromium.new_page(viewport={"width": 390, "height": 844})
        page.goto(f"{address}?height=64")  # by whatever paints here: no GPU
        page.wait_for_selector(".style img.there")
        page.set_input_files("#media", str(bomb))
        until(lambda: "megapixels" in page.inner_text("#problem"))
        page.set_input_files("#media", str(photo))
        live(page)
        until(lambda: page.evaluate("[canvas.width, canvas.height].join()") == "96,128", 60)
        until(lambda: look(page).std() > 10, 60)
        assert axe_violations(page) == []
