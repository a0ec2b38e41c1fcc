"""Several engines as one: batches go to them in turn, one engine a card."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle

from rtstyle.closing import Closing
from rtstyle.engines.base import Batch, Engine, Pending, StyleVector
from rtstyle.errors import EngineError
from rtstyle.model.spec import ModelSpec


class StripedEngine(Closing):
    """Paints batch k on engine k modulo their number.

    Order needs no care: results are asked for in the order of submitting, and each `Pending` waits
    for its own card. A card that fails fails the batch, with its name. Closes its engines.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise EngineError("A striped engine needs at least one engine.")
        self._engines = list(engines)
        self._turn = cycle(self._engines)
        self.name = engines[0].name
        self.device = ", ".join(engine.device for engine in engines)
        self.model: ModelSpec = engines[0].model

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        """Start painting on the next card; see `Engine.submit`."""
        return next(self._turn).submit(frames, style, strength)

    def close(self) -> None:
        with ExitStack() as stack:  # closes the rest too when one raises
            for engine in self._engines:
                stack.push(engine)
