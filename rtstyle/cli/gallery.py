"""One picture that shows every style on the same photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rtstyle.demo import sample_photos
from rtstyle.engines import open_engine
from rtstyle.errors import UsageError
from rtstyle.files import check_output
from rtstyle.frame import Image
from rtstyle.image import Look, finish, prepare
from rtstyle.media.images import write_picture
from rtstyle.style.style import Style

HEIGHT, WIDTH, LABEL_HEIGHT = 240, 320, 34  # of a picture and of the line above each row, in pixels


def write_gallery(styles: list[Style], path: Path, *, overwrite: bool = False) -> None:
    """Write a PNG with the photographs in its first row and a row for every style.

    Raises `UsageError` or `OutputExistsError` before any work, `OutputError` when it cannot be
    written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"The preview must be a .png file, not {path.name!r}.")
    check_output(path, overwrite=overwrite)
    photos = [_cropped(photo) for photo in sample_photos()]
    rows = [_row("the photographs", photos)]
    for style in styles:
        with open_engine("auto", style.model) as engine:
            painted = [
                finish(
                    engine.submit(
                        prepare(photo, model=engine.model, look=Look()), style.vector
                    ).result(),
                    photo, model=engine.model, look=Look(),
                )
                for photo in photos
            ]  # fmt: skip
        rows.append(_row(style.name, painted))
    write_picture(path, np.concatenate(rows), overwrite=overwrite)


def _cropped(photo: Image) -> Image:
    scale = max(HEIGHT / photo.shape[0], WIDTH / photo.shape[1])
    photo = np.asarray(
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    x = (photo.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(photo[:HEIGHT, x : x + WIDTH])  # from the top: faces are there


def _row(title: str, pictures: list[Image]) -> Image:
    label = np.full((LABEL_HEIGHT, WIDTH * len(pictures), 3), 255, np.uint8)
    cv2.putText(
        label,
        title,
        (8, LABEL_HEIGHT - 10),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.7,
        (40, 40, 40),
        1,
        cv2.LINE_AA,
    )
    return np.concatenate([label, np.concatenate(pictures, axis=1)])
