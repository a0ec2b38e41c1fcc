"""The workers of one run: started, given segments one at a time, replaced when they are lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, PriorityQueue
from threading import Event, Lock, Thread
from typing import Any, Self

from rtstyle.closing import Closing
from rtstyle.cluster.package import Package
from rtstyle.cluster.worker import Facts, Order, Painted, Worker, versions
from rtstyle.errors import ClusterError, OutputError, RtstyleError
from rtstyle.rendering.plan import Segment

_LOSSES = 3  # workers that one segment may cost, or a place may lose before its first segment
_TICK = 0.5  # seconds between two looks at how far a worker is
_CLOSING_SECONDS = 5.0
_PIECES_AHEAD = 2
_log = logging.getLogger("rtstyle")


class StoppedError(RtstyleError):
    """The run is over."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of its machine: processors and cards."""

    cpus: int
    cards: int = 0

    def fitting(self, nodes: list[dict[str, Any]]) -> int:
        """How many such workers there is room for on `nodes`, which `ray.nodes()` tells."""
        total = 0
        for node in nodes:
            if node["Alive"]:
                has = node["Resources"]
                room = has.get("CPU", 0) // self.cpus
                total += int(min(room, has.get("GPU", 0) // self.cards) if self.cards else room)
        return total


@dataclass(order=True, slots=True)
class _Work:
    """A segment to be painted, in order of video and number. `keep` takes its file's bytes."""

    place: tuple[int, int]
    order: Order = field(compare=False)
    segment: Segment = field(compare=False)
    keep: Callable[[bytes], None] = field(compare=False)
    on_frames: Callable[[int], None] = field(compare=False)
    future: Future[Painted] = field(compare=False, default_factory=Future)
    losses: int = field(compare=False, default=0)


class Workers(Closing):
    """`count` workers of one `share` each; several videos give them segments, from any thread.

    Each paints one segment at a time, so no more than `count` are on their way. A worker that is
    lost is replaced, and its segment painted anew. `on_worker` hears of each that is ready.
    """

    def __init__(
        self,
        ray: Any,
        count: int,
        share: Share,
        *,
        scratch: Path,
        on_worker: Callable[[Facts], None] = lambda facts: None,
    ) -> None:
        self._ray, self._share, self._scratch, self._on_worker = ray, share, scratch, on_worker
        self._queue: PriorityQueue[_Work] = PriorityQueue()
        self._stop = Event()
        self._sending: dict[tuple[str, str], Lock] = {}
        self._lock, self._choosing = Lock(), Lock()
        self._alive = count
        self._problem: RtstyleError | None = None
        self._engine: str | None = None
        self._threads = [
            Thread(target=self._serve, name=f"rtstyle-worker-{i}", daemon=True)
            for i in range(count)
        ]

    def submit(
        self, place: tuple[int, int], order: Order, segment: Segment,
        keep: Callable[[bytes], None], on_frames: Callable[[int], None],
    ) -> Future[Painted]:  # fmt: skip
        """Have a segment painted; `place`, video and number, tells its turn.

        `keep` gets the bytes of its file, and `on_frames` now and then how many frames are
        painted, both in another thread. The result has no data any more unless it has an error.
        """
        work = _Work(place, order, segment, keep, on_frames)
        self._queue.put(work)
        if self._problem is not None:
            self._fail_all(self._problem)
        return work.future

    def stop(self) -> None:
        """Let nothing more be painted; what waits gets `StoppedError`."""
        self._stop.set()
        self._fail_all(StoppedError("The run is over."))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(2 * _CLOSING_SECONDS)

    def _serve(self) -> None:
        """Keep one worker's place filled, until the run is over or it cannot be."""
        losses = 0
        try:
            while not self._stop.is_set():
                actor = None
                try:
                    actor = self._start()
                    facts = self._answer(actor.facts.remote())
                    _check_versions(facts)
                    self._on_worker(facts)
                    _log.debug("Worker %s on %s.", facts.pid, facts.host)
                    while not self._stop.is_set():
                        self._take_work(actor, facts)
                        losses = 0
                except self._ray.exceptions.RayError as error:
                    losses += 1
                    if losses >= _LOSSES:
                        raise ClusterError(_why_no_start(error)) from error
                finally:
                    if actor is not None:
                        self._close(actor)
        except StoppedError:
            pass
        except RtstyleError as error:
            self._give_up(error)
        except Exception as error:
            self._give_up(ClusterError(f"Ray failed: {type(error).__name__}: {_last(error)}"))

    def _start(self) -> Any:
        make = self._ray.remote(Worker).options(
            num_cpus=self._share.cpus, num_gpus=self._share.cards,
            max_restarts=0, max_concurrency=4,
        )  # fmt: skip
        return make.remote(self._scratch)

    def _take_work(self, actor: Any, facts: Facts) -> None:
        try:
            work = self._queue.get(timeout=_TICK)
        except Empty:
            self._ray.get(actor.frames.remote())  # is it there?
            return
        if not work.losses and not work.future.set_running_or_notify_cancel():
            return
        try:
            work.future.set_result(self._paint(actor, facts, work))
        except self._ray.exceptions.RayTaskError as error:
            work.future.set_exception(ClusterError(f"A worker failed: {_last(error.cause)}"))
        except self._ray.exceptions.RayError as error:  # the worker, or its machine, is gone
            work.losses += 1
            if work.losses < _LOSSES:
                _log.debug("Segment %s lost its worker.", work.place)
                self._queue.put(work)
            else:
                work.future.set_exception(
                    ClusterError(
                        f"Segment {work.segment.number} of {work.order.job.source} ended its "
                        f"worker {_LOSSES} times ({_last(error)}); its machine may have too little "
                        "memory for this size."
                    )
                )
            raise
        except BaseException as error:
            work.future.set_exception(error)
            if isinstance(error, StoppedError):
                raise

    def _paint(self, actor: Any, facts: Facts, work: _Work) -> Painted:
        order = work.order
        for package in (order.model, order.source):
            self._bring(actor, facts, package)
        order = self._with_one_engine(actor, order)
        result = actor.paint.remote(order, work.segment)
        painted: Painted = self._answer(
            result, lambda: work.on_frames(self._ray.get(actor.frames.remote()))
        )
        del result  # its bytes leave Ray's store
        if painted.data is None or painted.error is not None:
            return painted
        work.keep(painted.data)
        return Painted()

    def _with_one_engine(self, actor: Any, order: Order) -> Order:
        """The order with the engine that the first worker found to be best in place of "auto", for
        all to paint alike; cards may build theirs first and are left the choice."""
        if order.job.engine.name != "auto" or self._share.cards:
            return order
        with self._held(self._choosing):
            name = self._engine
            if name is None:
                name = self._answer(actor.open.remote(order))
                if isinstance(name, RtstyleError):
                    raise name
                self._engine = name
        engine = replace(order.job.engine, name=name)
        return replace(order, job=replace(order.job, engine=engine))

    def _bring(self, actor: Any, facts: Facts, package: Package) -> None:
        """See that the worker's machine has the files: once for all its workers."""
        if not self._answer(actor.lacks.remote(package)):
            return
        with self._lock:
            lock = self._sending.setdefault((facts.host, package.digest), Lock())
        with self._held(lock):
            if not self._answer(actor.lacks.remote(package)):
                return
            ahead: list[Any] = []
            for name, place, piece in package.pieces():
                ahead.append(actor.take.remote(package, name, place, piece))
                while len(ahead) >= _PIECES_AHEAD:
                    self._taken(ahead.pop(0))
            for answer in ahead:
                self._taken(answer)
            self._answer(actor.complete.remote(package))

    @contextmanager
    def _held(self, lock: Lock) -> Iterator[None]:
        """Hold it, unless the run is over before it is free."""
        while not lock.acquire(timeout=_TICK):
            self._check_stop()
        try:
            yield
        finally:
            lock.release()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("The run is over.")

    def _taken(self, answer: Any) -> None:
        if problem := self._answer(answer):
            raise OutputError(f"An input cannot be copied to {problem}.")

    def _answer(self, answer: Any, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """Wait for what a worker answers. Raises `StoppedError` when the run is over."""
        while not self._ray.wait([answer], timeout=_TICK)[0]:
            self._check_stop()
            meanwhile()
        return self._ray.get(answer)

    def _close(self, actor: Any) -> None:
        with suppress(Exception):
            self._ray.get(actor.close.remote(), timeout=_CLOSING_SECONDS)
        with suppress(Exception):
            self._ray.kill(actor)

    def _give_up(self, problem: RtstyleError) -> None:
        """This place stays empty; without any, nothing more is painted."""
        _log.debug("A worker's place stays empty: %s", problem)
        with self._lock:
            self._alive -= 1
            if self._alive:
                return
            self._problem = problem
        self._fail_all(problem)

    def _fail_all(self, problem: RtstyleError) -> None:
        with suppress(Empty):
            while True:
                work = self._queue.get_nowait()
                if work.losses or work.future.set_running_or_notify_cancel():
                    work.future.set_exception(problem)


def _check_versions(facts: Facts) -> None:
    if others := [
        f"{theirs}, not {ours}"
        for ours, theirs in zip(versions(), facts.versions, strict=True)
        if ours != theirs
    ]:
        raise ClusterError(
            f"{facts.host} has {' and '.join(others)}; install the same versions on every machine."
        )


def _why_no_start(error: BaseException) -> str:
    told = str(error)
    if "ModuleNotFoundError" in told or "ImportError" in told:
        return "A machine of the cluster lacks rtstyle; install the same version on every one."
    return f"No worker stays alive on the cluster: {_last(error)}"


def _last(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") + "." if lines else f"{type(error).__name__}."
