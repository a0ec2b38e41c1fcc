"""Paints nothing: what the pipeline costs without a net, and a stand-in for tests."""

from __future__ import annotations

import numpy as np

from rtstyle.engines.base import Batch, Done, Engine, Pending, StyleVector
from rtstyle.engines.batch import to_inputs
from rtstyle.engines.options import DEFAULTS, EngineOptions
from rtstyle.model.spec import ModelSpec


class IdentityEngine(Engine):
    """Gives back a copy of every batch, after the same checks as any other engine."""

    name = "identity"
    device = "none"

    def __init__(self, model: ModelSpec, options: EngineOptions = DEFAULTS) -> None:
        self.model = model

    @classmethod
    def version(cls) -> str:
        """The version of the runtime."""
        return np.__version__

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        to_inputs(self.model, frames, style, strength)
        return Done(frames.copy())
