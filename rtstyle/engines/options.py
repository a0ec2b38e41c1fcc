"""Which engine to use and how it runs: one object, passed from the user to the engine."""

from __future__ import annotations

from dataclasses import dataclass

from rtstyle.engines.registry import engine_row
from rtstyle.errors import UsageError
from rtstyle.model.zoo import PRECISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a user chooses of an engine. Picklable.

    `name` is one of `rtstyle.engines.ENGINES`, or "auto" for the best that works. `threads` is the
    number of CPU threads, all cores by default. `precision` is one of
    `rtstyle.model.zoo.PRECISIONS`; "auto" takes half on a GPU where the model has that variant,
    and "fastest" takes INT8 on a CPU too. `devices` are numbers of GPUs; batches go to them in
    turn where there are several. `streams` is how many batches an engine on a CPU may compute side
    by side, each with its share of the threads: more a second, but each takes longer.

    Raises `UsageError` for a value or a combination that cannot work.
    """

    name: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    devices: tuple[int, ...] = ()
    streams: int = 1

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"An engine needs at least 1 thread, not {self.threads}.")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision {self.precision!r}; use {', '.join(PRECISIONS)}."
            )
        if self.name != "auto" and not engine_row(self.name).runs_on_gpu and self.devices:
            raise UsageError(f"The engine {self.name} does not run on a GPU; leave --devices out.")
        if len(set(self.devices)) < len(self.devices):
            raise UsageError("A GPU is named twice in --devices.")

    @classmethod
    def of(cls, engine: str | EngineOptions) -> EngineOptions:
        """Options as they are; a name with everything else left to its default."""
        return cls(name=engine) if isinstance(engine, str) else engine

    @property
    def device(self) -> int:
        """The number of the first GPU."""
        return self.devices[0] if self.devices else 0


DEFAULTS = EngineOptions()
