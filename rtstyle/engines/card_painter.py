"""Painting pictures that lie on a card already: what an engine offers beside `submit`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from rtstyle.engines.base import Engine, Pending, StyleVector
from rtstyle.errors import EngineError
from rtstyle.frame import CardImage

Shapes = dict[str, tuple[int, ...]]  # of every input, by name


class CardPainter(Protocol):
    """Paints inputs of the shapes that it was made for."""

    def __call__(self, inputs: Mapping[str, Any], output: Any, stream: int) -> None:
        """Put painting on the CUDA stream `stream`, which is torch's current one.

        `inputs`, by name in the model's order, and `output` are torch tensors on the card. Called
        twice before it is recorded into a CUDA graph, as the first time may allocate. Raises
        `EngineError`.
        """
        ...


@runtime_checkable
class CardEngine(Engine, Protocol):
    """An engine that also paints where pictures lie: its `submit` takes a `CardImage` too, of which
    `takes_card_image` says yes, and then gives one."""

    def takes_card_image(self, image: CardImage) -> bool: ...

    def painter_on_card(self, shapes: Shapes) -> CardPainter:
        """A painter for inputs of these shapes. Raises `EngineError`."""
        ...


class CardPictures:
    """How an engine with a `painter_on_card` takes `CardImage`s: made when the first one comes."""

    def __init__(self, engine: CardEngine, device: int | str) -> None:
        self._engine, self._device = engine, device
        self._on_card: Any = None

    def takes(self, image: CardImage) -> bool:
        """Whether the picture lies on the engine's card, and torch can convert it there."""
        fits = self._engine.model.layout == "nhwc" and self._device in ("cpu", image.card)
        return fits and find_spec("torch") is not None and self._sees_card()

    def submit(self, image: CardImage, style: StyleVector | None, strength: float) -> Pending:
        """Start painting; the result is a `CardImage` too. Raises `EngineError`."""
        if self._on_card is None:
            self._on_card = _torch_module("torch_on_card").OnCard(
                self._engine, _torch_module("torch_card").card(self._device)
            )
        pending: Pending = self._on_card.submit(image, style, strength)
        return pending

    def close(self) -> None:
        """Give the card's memory back."""
        if self._on_card is not None:
            self._on_card.close()
            self._on_card = None

    def _sees_card(self) -> bool:
        if self._on_card is None:
            try:
                _torch_module("torch_card").card(self._device)
            except (EngineError, ImportError):
                return False
        return True


def _torch_module(name: str) -> Any:
    return import_module(f"rtstyle.engines.{name}")
