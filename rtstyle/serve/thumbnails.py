"""Small pictures of what each style does, made by the nets themselves."""

from __future__ import annotations

from threading import Lock

import cv2
import numpy as np

from rtstyle.demo import sample_photos
from rtstyle.errors import OutputError
from rtstyle.frame import Image
from rtstyle.image import Look, finish, geometry, prepare
from rtstyle.live.engine_pool import Canvas, EnginePool
from rtstyle.style.style import Style

WIDTH, HEIGHT = 288, 216


class Thumbnails:
    """Paints a thumbnail when it is asked for, once. One thread at a time paints."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self._lock = Lock()
        self._done: dict[str, bytes] = {}
        self._photo: Image | None = None

    def jpeg(self, style: Style) -> bytes:
        """The thumbnail as a JPEG file. Takes a while the first time; raises `EngineError`."""
        with self._lock:
            if style.name not in self._done:
                self._done[style.name] = _encoded(self._painted(style))
            return self._done[style.name]

    def _painted(self, style: Style) -> Image:
        if self._photo is None:
            self._photo = _portrait(sample_photos()[0])
        photo, look = self._photo, Look()
        size = geometry(*photo.shape[:2], model=style.model, look=look).padded
        engine = self._pool.lease(Canvas(style.model, size))
        try:
            batch = prepare(photo, model=engine.model, look=look)
            painted = engine.submit(batch, style.vector).result()
            return finish(painted, photo, model=engine.model, look=look)
        finally:
            self._pool.release(engine)


def _portrait(photo: Image) -> Image:
    """The upper part, where the face is, at the size of a thumbnail."""
    height, width = photo.shape[:2]
    rows = min(height, width * HEIGHT // WIDTH)
    scaled = cv2.resize(photo[:rows], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(scaled, np.uint8)


def _encoded(image: Image) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not encoded:
        raise OutputError("A thumbnail cannot be encoded as JPEG.")
    return data.tobytes()
