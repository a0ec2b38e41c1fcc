"""The workers of one run: given segments one at a time, and restarted by Ray where one is lost."""

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
from rtstyle.cluster.worker import Order, Outcome, Worker, WorkerInfo, versions
from rtstyle.errors import ClusterError, OutputError, RtstyleError
from rtstyle.rendering.plan import Segment

_RESTARTS = 10  # of one worker; a machine that loses it more often is left alone
_LOSSES = 3  # of workers that one segment may cost, or in a row without a segment done
_TICK = 0.5  # seconds between two polls of a worker's progress
_CLOSING_SECONDS = 5.0
_PIECES_AHEAD = 2
_log = logging.getLogger("rtstyle")


class StoppedError(RtstyleError):
    """The run is over."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of its machine: CPUs and GPUs."""

    cpus: int
    gpus: int = 0

    def fitting(self, nodes: list[dict[str, Any]]) -> int:
        """How many such workers `nodes`, as `ray.nodes()` returns them, have room for."""
        total = 0
        for node in nodes:
            if node["Alive"]:
                has = node["Resources"]
                room = has.get("CPU", 0) // self.cpus
                total += int(min(room, has.get("GPU", 0) // self.gpus) if self.gpus else room)
        return total


@dataclass(order=True, slots=True)
class Task:
    """A segment to be encoded; tasks run in the order of `place`, which is (video, segment).

    `keep` gets the bytes of the segment's file, and `on_frames` now and then how many frames are
    done, both in another thread. The future's result has data only beside an error.
    """

    place: tuple[int, int]
    order: Order = field(compare=False)
    segment: Segment = field(compare=False)
    keep: Callable[[bytes], None] = field(compare=False)
    on_frames: Callable[[int], None] = field(compare=False)
    future: Future[Outcome] = field(compare=False, default_factory=Future)
    losses: int = field(compare=False, default=0)


class Workers(Closing):
    """`count` workers of one `share` each; several videos submit tasks, from any thread.

    Each worker has one segment at a time. Ray restarts a worker that is lost, and its segment goes
    back into the queue, for another may be free before there is room again. `on_worker` gets every
    worker that is ready.
    """

    def __init__(
        self,
        ray: Any,
        count: int,
        share: Share,
        *,
        scratch: Path,
        on_worker: Callable[[WorkerInfo], None] = lambda info: None,
    ) -> None:
        self.share = share
        self._ray, self._scratch, self._on_worker = ray, scratch, on_worker
        self._queue: PriorityQueue[Task] = PriorityQueue()
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

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task; its future."""
        self._queue.put(task)
        if self._problem is not None:
            self._fail_all(self._problem)
        return task.future

    def stop(self) -> None:
        """Start nothing more; what waits gets `StoppedError`."""
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
        """Keep one worker busy until the run is over or Ray cannot restart it."""
        actor, losses = None, 0
        try:
            make = self._ray.remote(Worker).options(
                num_cpus=self.share.cpus,
                num_gpus=self.share.gpus,
                max_restarts=_RESTARTS,
                max_concurrency=4,
            )
            actor = make.remote(self._scratch)
            while not self._stop.is_set():
                try:
                    info = self._answer(actor.info.remote())
                    _check_versions(info)
                    self._on_worker(info)
                    _log.debug("Worker %s on %s.", info.pid, info.host)
                    while not self._stop.is_set():
                        self._run_next(actor, info)
                        losses = 0
                except self._ray.exceptions.RayError as error:
                    losses += 1
                    if losses >= _LOSSES:
                        raise ClusterError(_why_no_start(error)) from error
        except StoppedError:
            pass
        except RtstyleError as error:
            self._give_up(error)
        except Exception as error:
            self._give_up(ClusterError(f"Ray failed: {type(error).__name__}: {_last(error)}"))
        finally:
            if actor is not None:
                self._close(actor)

    def _run_next(self, actor: Any, info: WorkerInfo) -> None:
        """Wait for a task and run it. Raises `RayError` when the worker is lost."""
        try:
            task = self._queue.get(timeout=_TICK)
        except Empty:
            self._ray.get(actor.frames.remote())  # raises if the worker is lost
            return
        if not task.losses and not task.future.set_running_or_notify_cancel():
            return
        try:
            task.future.set_result(self._run(actor, info, task))
        except self._ray.exceptions.RayTaskError as error:
            task.future.set_exception(ClusterError(f"A worker failed: {_last(error.cause)}"))
        except self._ray.exceptions.RayError as error:  # the worker, or its machine, is gone
            task.losses += 1
            if task.losses < _LOSSES:
                _log.debug("Segment %s lost its worker.", task.place)
                self._queue.put(task)
            else:
                task.future.set_exception(
                    ClusterError(
                        f"Segment {task.segment.number} of {task.order.job.source} ended its "
                        f"worker {_LOSSES} times ({_last(error)}); its machine may have too little "
                        "memory for this size."
                    )
                )
            raise
        except BaseException as error:
            task.future.set_exception(error)
            if isinstance(error, StoppedError):
                raise

    def _run(self, actor: Any, info: WorkerInfo, task: Task) -> Outcome:
        for package in (task.order.model, task.order.source):
            self._send(actor, info, package)
        result = actor.encode.remote(self._with_one_engine(actor, task.order), task.segment)
        outcome: Outcome = self._answer(
            result, lambda: task.on_frames(self._ray.get(actor.frames.remote()))
        )
        del result  # frees the bytes in Ray's object store
        if outcome.data is None or outcome.error is not None:
            return outcome
        task.keep(outcome.data)
        return Outcome()

    def _with_one_engine(self, actor: Any, order: Order) -> Order:
        """The order with the engine that "auto" opened on the first worker, so that all stylize
        alike. On GPUs the choice stays with each worker, as an engine may first have to be
        built."""
        if order.job.engine.name != "auto" or self.share.gpus:
            return order
        with self._held(self._choosing):
            name = self._engine
            if name is None:
                name = self._answer(actor.open.remote(order))
                if isinstance(name, RtstyleError):
                    raise name
                self._engine = name
        return replace(order, job=replace(order.job, engine=replace(order.job.engine, name=name)))

    def _send(self, actor: Any, info: WorkerInfo, package: Package) -> None:
        """Send the files that the worker's machine lacks: once for all workers there."""
        if not self._answer(actor.lacks.remote(package)):
            return
        with self._lock:
            lock = self._sending.setdefault((info.host, package.digest), Lock())
        with self._held(lock):
            if not self._answer(actor.lacks.remote(package)):
                return
            ahead: list[Any] = []
            for name, place, piece in package.pieces():
                ahead.append(actor.take.remote(package, name, place, piece))
                while len(ahead) >= _PIECES_AHEAD:
                    self._check_taken(ahead.pop(0))
            for answer in ahead:
                self._check_taken(answer)
            self._answer(actor.complete.remote(package))

    @contextmanager
    def _held(self, lock: Lock) -> Iterator[None]:
        """Hold the lock. Raises `StoppedError` if the run is over before it is free."""
        while not lock.acquire(timeout=_TICK):
            self._check_stop()
        try:
            yield
        finally:
            lock.release()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("The run is over.")

    def _check_taken(self, answer: Any) -> None:
        if problem := self._answer(answer):
            raise OutputError(f"An input cannot be copied to {problem}.")

    def _answer(self, answer: Any, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """Wait for a worker's answer. Raises `StoppedError` when the run is over."""
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
        """Go on without this worker; without any, every task fails."""
        _log.debug("A worker cannot be replaced: %s", problem)
        with self._lock:
            self._alive -= 1
            if self._alive:
                return
            self._problem = problem
        self._fail_all(problem)

    def _fail_all(self, problem: RtstyleError) -> None:
        with suppress(Empty):
            while True:
                task = self._queue.get_nowait()
                if task.losses or task.future.set_running_or_notify_cancel():
                    task.future.set_exception(problem)


def _check_versions(info: WorkerInfo) -> None:
    if others := [
        f"{theirs}, not {ours}"
        for ours, theirs in zip(versions(), info.versions, strict=True)
        if ours != theirs
    ]:
        raise ClusterError(
            f"{info.host} has {' and '.join(others)}; install the same versions on every machine."
        )


def _why_no_start(error: BaseException) -> str:
    text = str(error)
    if "ModuleNotFoundError" in text or "ImportError" in text:
        return "A machine of the cluster lacks rtstyle; install the same version on every one."
    return f"No worker stays alive on the cluster: {_last(error)}"


def _last(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") + "." if lines else f"{type(error).__name__}."
