"""Engines made of engines: several GPUs in turn, and a slower one until a faster one is built."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from threading import Lock, Thread

from rtstyle.engines.base import Batch, Engine, Pending, PendingImage, Shapes, StyleVector
from rtstyle.engines.batch import check_batch
from rtstyle.engines.cuda.slot import Slot
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceImage
from rtstyle.image import Look, geometry, padded_size

_log = logging.getLogger("rtstyle")


class DelegatingEngine(Engine):
    """Forwards everything to other engines, of which one is `active`. Closes them all."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._activate(engines[0])
        self.model = engines[0].model

    def _activate(self, engine: Engine) -> None:
        self.active = engine
        self.name, self.device = engine.name, engine.device

    @property
    def builds_in_flight(self) -> bool:  # type: ignore[override]  # of whichever is active
        return self.active.builds_in_flight

    @property
    def precision(self) -> str:
        return self.active.precision

    @property
    def pads(self) -> bool:
        return all(engine.pads for engine in self._engines)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        return self.active.submit(frames, style, strength)

    def takes_device_image(self, image: DeviceImage) -> bool:
        return self.active.takes_device_image(image)

    def submit_device(
        self, image: DeviceImage, style: StyleVector | None = None, strength: float = 1.0
    ) -> PendingImage:
        return self.active.submit_device(image, style, strength)

    def open_slot(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Slot | None:
        return self.active.open_slot(frames, style, strength)

    def expect(self, frames: Batch, style: StyleVector | None = None) -> None:
        for engine in self._engines:
            engine.expect(frames, style)

    def is_ready(self, shapes: Shapes) -> bool:
        return self.active.is_ready(shapes)

    def build(self, shapes: Shapes) -> None:
        self.active.build(shapes)

    def close(self) -> None:
        with ExitStack() as stack:  # closes the rest too when one raises
            for engine in self._engines:
                stack.push(engine)


class MultiDeviceEngine(DelegatingEngine):
    """Runs batch k on engine k modulo their number, one engine a GPU.

    Order needs no care: results are asked for in the order of submitting, and each `Pending` waits
    for its own GPU. A GPU that fails fails the batch, with its name.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise EngineError("An engine for several GPUs needs at least one.")
        super().__init__(engines)
        self._turn = cycle(engines)
        self.device = ", ".join(engine.device for engine in engines)

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        return next(self._turn).submit(frames, style, strength)

    def takes_device_image(self, image: DeviceImage) -> bool:
        """Whether the frame is in the memory of one of the GPUs."""
        return any(engine.takes_device_image(image) for engine in self._engines)

    def submit_device(
        self, image: DeviceImage, style: StyleVector | None = None, strength: float = 1.0
    ) -> PendingImage:
        for engine in self._engines:
            if engine.takes_device_image(image):
                return engine.submit_device(image, style, strength)
        return super().submit_device(image, style, strength)


class WarmupEngine(DelegatingEngine):
    """Every batch goes to `better` where it is ready for the batch's size, else to `first`.

    One size is built at a time, by a thread of its own. No batch waits for that and none is lost:
    each is submitted to one engine and its `Pending` belongs to that. What cannot be built is said
    once in the log, and `first` goes on.
    """

    def __init__(self, first: Engine, better: Engine) -> None:
        super().__init__((first, better))
        self._first, self._better = first, better
        self._ready: set[str] = set()
        self._failed: set[str] = set()
        self._thread: Thread | None = None
        self._lock = Lock()

    def submit(
        self, frames: Batch, style: StyleVector | None = None, strength: float = 1.0
    ) -> Pending:
        check_batch(self.model, frames, style, strength, pads=self.pads)
        padded = padded_size(frames.shape[1], frames.shape[2], self.model)
        chosen = self._chosen(self.model.input_shapes(len(frames), *padded))
        return chosen.submit(frames, style, strength)

    def takes_device_image(self, image: DeviceImage) -> bool:
        """Whether the engine that is ready for the frame's size takes it."""
        return self._chosen_for(image).takes_device_image(image)

    def submit_device(
        self, image: DeviceImage, style: StyleVector | None = None, strength: float = 1.0
    ) -> PendingImage:
        return self._chosen_for(image).submit_device(image, style, strength)

    def _chosen_for(self, image: DeviceImage) -> Engine:
        padded = geometry(*image.size, model=self.model, look=Look()).padded
        return self._chosen(self.model.input_shapes(1, *padded))

    def wait_until_built(self, timeout: float | None = None) -> None:
        """Wait until nothing is being built."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _chosen(self, shapes: Shapes) -> Engine:
        key = repr(sorted(shapes.items()))
        with self._lock:
            building = self._thread is not None and self._thread.is_alive()
            if key in self._failed or (building and key not in self._ready):
                return self._first
            if key in self._ready or self._better.is_ready(shapes):
                self._ready.add(key)
                if self.active is not self._better:
                    self._activate(self._better)
                    _log.info("Engine %s on %s from now on.", self.name, self.device)
                return self._better
            _log.info("%s is being built while %s paints.", self._better.name, self._first.name)
            self._thread = Thread(
                target=self._build, args=(key, shapes), name="rtstyle-build", daemon=True
            )
            self._thread.start()
            return self._first

    def _build(self, key: str, shapes: Shapes) -> None:
        try:
            self._better.build(shapes)
        except EngineError as error:
            self._failed.add(key)
            _log.warning("%s goes on, as %s failed: %s", self._first.name, self._better.name, error)

    def close(self) -> None:
        self.wait_until_built()  # cannot be broken off, and the result is kept for the next time
        super().close()
