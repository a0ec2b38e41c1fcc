"""The upper bound that nets are held against: Gatys' optimisation at several trade-offs.

Gatys et al. 2015 by 100 steps of L-BFGS at five style weights makes a frontier of style and content
losses for a painting and a photograph. It costs about a minute each, so every one is kept in a
cache, and several can be made at once.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.quality.judge import Judge, Losses, as_tensor
from benchmarks.quality.remembered import write_json
from rtstyle.train.gatys import Objective, Weights, optimise
from rtstyle.train.perceptual import PerceptualNet, load_perceptual_net

WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0)
STEPS = 100

Frontier = list[Losses]


@dataclass(frozen=True, slots=True)
class Frontiers:
    """Every frontier, from `folder` if it is kept there. `steps` is how far the optimiser goes."""

    folder: Path
    steps: int = STEPS

    def path(self, judge: Judge, photo: NDArray[np.uint8]) -> Path:
        """The file that keeps the frontier of the judge's painting and a photograph (H, W, 3)."""
        name = hashlib.sha256(photo.tobytes()).hexdigest()[:12]
        return self.folder / f"gatys-{self.steps}-{judge.key}-{name}.json"

    def of(self, judge: Judge, photo: NDArray[np.uint8]) -> Frontier:
        """The frontier of the judge's painting and a photograph (H, W, 3)."""
        path = self.path(judge, photo)
        if path.exists():
            return [Losses(*point) for point in json.loads(path.read_text())]
        x = as_tensor(photo)
        points = [judge.losses(self._painted(x, judge, weight), x) for weight in WEIGHTS]
        write_json(path, points)
        return points

    def _painted(self, x: Tensor, judge: Judge, style_weight: float) -> Tensor:
        weights = Weights(style=style_weight)
        objective = Objective(x, judge.style, loss_net=judge.loss_net, weights=weights)
        return optimise(x, objective, steps=self.steps)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One frontier to be made: painting and its size, photograph (H, W, 3), the files it needs."""

    painting: Path
    style_size: int
    photo: NDArray[np.uint8]
    loss_net: Path
    frontiers: Frontiers


def pareto_ratio(losses: Losses, frontier: Iterable[Losses]) -> float:
    """By which factor `losses` miss the nearest trade-off of the frontier; 1 is as good as it."""
    return min(max(losses.style / best.style, losses.content / best.content) for best in frontier)


def make_frontiers(
    wanted: list[Wanted], *, jobs: int = 1, on_done: Callable[[int], None] = lambda done: None
) -> None:
    """Fill the cache, in `jobs` processes of one thread each. `on_done` gets how many are made.

    A kept frontier is whole, so an interrupted run goes on where it was.
    """
    if jobs == 1:
        for done, one in enumerate(wanted, start=1):
            _make(one)
            on_done(done)
        return
    # A forked process would inherit torch's threads in an unknown state.
    with ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    ) as pool:
        running = [pool.submit(_make, one) for one in wanted]
        try:
            for done, future in enumerate(as_completed(running), start=1):
                future.result()
                on_done(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    torch.set_num_threads(1)


def _make(one: Wanted) -> None:
    judge = _judge(one.painting, one.style_size, one.loss_net)
    one.frontiers.of(judge, one.photo)


@lru_cache(maxsize=4)
def _judge(painting: Path, style_size: int, loss_net: Path) -> Judge:
    return Judge(painting, style_size, _loss_net(loss_net))


@lru_cache(maxsize=1)
def _loss_net(path: Path) -> PerceptualNet:
    return load_perceptual_net(path)
