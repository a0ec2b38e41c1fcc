"""A real browser with a made-up camera, for the tests of the page."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

AXE = "4.14.1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def write_camera(path: Path, *, width: int = 320, height: int = 180, n_frames: int = 30) -> Path:
    """A camera for Chromium: a green picture with a bright square that walks through it."""
    with av.open(str(path), "w", format="yuv4mpegpipe") as out:
        stream: Any = out.add_stream("rawvideo", rate=15)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(n_frames):
            image = np.empty((height, width, 3), np.uint8)
            image[:] = (30, 160, 60)
            left = (index * 10) % (width - 60)
            image[60:120, left : left + 60] = (240, 240, 240)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@contextmanager
def browser(camera: Path | None, *flags: str) -> Iterator[Any]:
    """A Chromium that films `camera`, or has four cameras of its own of which WebRTC cannot send
    the second's 16 bits. It asks nobody. Skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium).")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--allow-loopback-in-peer-connection",  # a CI may have no network at all
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream=device-count=4",
                *([f"--use-file-for-fake-video-capture={camera}"] if camera else []),
                *flags,
            ],
        )
        try:
            yield chromium
        finally:
            chromium.close()


def kill_gpu(camera: Path) -> None:
    """Kill the process that has the GPU of the browser that films `camera`. On Linux only."""

    def parent(pid: str) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]

    def arguments(pid: str) -> str:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")

    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended already
            if "--type=gpu-process" in arguments(place.name):
                ancestors = [parent(place.name), parent(parent(place.name))]
                if any(str(camera) in arguments(pid) for pid in ancestors):
                    os.kill(int(place.name), signal.SIGKILL)


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `what` answers as soon as that is true."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return answer


def drop(page: Any, name: str, data: bytes, kind: str = "image/png") -> None:
    """Drop a file of that content anywhere on the page."""
    page.evaluate(
        """([name, base64, type]) => {
          const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name, { type }));
          for (const kind of ["dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true }));
        }""",
        [name, base64.b64encode(data).decode(), kind],
    )


def axe_violations(page: Any) -> list[str]:
    """What axe-core finds wrong with the page now: rule and element. Skips without npm."""
    path = Path(tempfile.gettempdir()) / f"rtstyle-axe-{AXE}.js"
    if not path.is_file():
        npm = shutil.which("npm")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm or "npm", "pack", f"axe-core@{AXE}", "--silent"]
            if not npm or subprocess.run(command, cwd=folder, capture_output=True).returncode:
                pytest.skip("axe-core cannot be fetched by npm.")
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
                script = package.extractfile("package/axe.min.js")
                assert script is not None
                path.write_bytes(script.read())
    page.evaluate(path.read_text())
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{rule['id']}: {node['html']:.120}" for rule in found for node in rule["nodes"]]


# The picture in the page as numbers: mean colour, and the colours of a grid of points.
LOOK = """() => {
  const here = document.body.dataset.painted === "here";
  const video = document.getElementById(here ? "canvas" : "painted");
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 36;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 64, 36);
  return Array.from(context.getImageData(0, 0, 64, 36).data);
}"""


def look(page: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the page shows now, (36, 64, 3)."""
    return np.array(page.evaluate(LOOK), float).reshape(36, 64, 4)[..., :3]
