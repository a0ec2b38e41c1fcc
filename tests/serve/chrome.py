"""A real browser with a made-up camera, for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

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
def browser(camera: Path) -> Iterator[Any]:
    """A Chromium that films `camera` and asks nobody. Skips where there is none."""
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
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )
        try:
            yield chromium
        finally:
            chromium.close()


# The picture in the page as numbers: mean colour, and the colours of a grid of points.
LOOK = """() => {
  const video = document.getElementById("painted");
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 36;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 64, 36);
  return Array.from(context.getImageData(0, 0, 64, 36).data);
}"""


def look(page: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the page shows now, (36, 64, 3)."""
    return np.array(page.evaluate(LOOK), float).reshape(36, 64, 4)[..., :3]
