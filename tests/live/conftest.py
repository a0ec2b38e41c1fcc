"""A model of two styles that paints at once, and a source that needs no device."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from fractions import Fraction
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import Origin
from rtstyle.media.devices.source import TIME_BASE
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.style.style import Style, styles_of
from tests.graphs import dimming
from tests.serve.dim import DIM


@pytest.fixture(scope="session")
def dim(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A model whose style `bright` copies and whose style `dark` paints black."""
    path = dimming(
        tmp_path_factory.mktemp("dim") / "dim.onnx", metadata={"rtstyle": json.dumps(DIM)}
    )
    return read_model(path)


@pytest.fixture(scope="session")
def gallery(dim: ModelSpec, tiny_model: ModelSpec) -> list[Style]:
    """Bright and dark of one model, and a third style of another."""
    return [*styles_of(dim), *styles_of(tiny_model)]


class Ramp:
    """A live source of `n_frames` grey pictures that get brighter from left to right."""

    notes: list[str]
    origin: Origin | None

    def __init__(
        self, n_frames: int, *, rate: int = 100, size: tuple[int, int] = (48, 128)
    ) -> None:
        self.info = StreamInfo(size[1], size[0], Fraction(rate), TIME_BASE)
        self.notes, self.origin, self.notice = [], None, ""
        self.picture = np.repeat(
            np.linspace(40, 220, size[1]).astype(np.uint8)[None, :, None], size[0], 0
        ).repeat(3, 2)
        self._n_frames, self._step = n_frames, 1 / rate
        self._started = perf_counter()
        self.closed = False

    def clock(self) -> float:
        return perf_counter() - self._started

    def close(self) -> None:
        self.closed = True

    def frames(self) -> Iterator[Frame]:
        for index in range(self._n_frames):
            if self.closed:
                return
            time.sleep(self._step)
            ticks = round(self.clock() / TIME_BASE)
            yield Frame(self.picture, ticks * TIME_BASE, index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
