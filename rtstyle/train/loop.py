"""The loop around a training: checkpoints, the log of its losses, resuming."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

from rtstyle.errors import TrainingError
from rtstyle.train.trainer import Trainer

TERMS = ("style", "content", "tv", "stability", "peaks", "reconstruction")


def train(
    trainer: Trainer,
    *,
    folder: Path,
    save_every: int = 250,
    on_step: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    on_save: Callable[[Trainer], None] = lambda trainer: None,
) -> float:
    """Run `trainer` to its end, keeping `checkpoint.safetensors` and `losses.csv` in `folder`.

    `on_step` gets the number of updates done and their losses; `on_save` follows every checkpoint.
    Ctrl-C saves before it is passed on. Returns the seconds that all its updates took, those before
    a resume too. Raises `TrainingError` when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _train(trainer, folder, save_every, on_step, on_save)
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written ({error}); the last good checkpoint is kept."
        ) from error


def _train(
    trainer: Trainer,
    folder: Path,
    save_every: int,
    on_step: Callable[[int, dict[str, float]], None],
    on_save: Callable[[Trainer], None],
) -> float:
    checkpoint = folder / "checkpoint.safetensors"
    log_path = folder / "losses.csv"
    rows = _rows_before(log_path, trainer.done)
    seconds = float(rows[-1]["seconds"]) if rows else 0.0
    start = time.monotonic() - seconds
    with log_path.open("w", newline="", encoding="utf-8") as file:
        log = csv.DictWriter(file, ["update", *TERMS, "lr", "seconds"])
        log.writeheader()
        log.writerows(rows)
        try:
            while trainer.done < trainer.recipe.updates:
                lr = trainer.recipe.lr_at(trainer.done)
                losses = trainer.step()
                seconds = time.monotonic() - start
                log.writerow(
                    {"update": trainer.done, "lr": f"{lr:.3g}", "seconds": f"{seconds:.1f}"}
                    | {name: f"{value:.5g}" for name, value in losses.items()}
                )
                on_step(trainer.done, losses)
                if trainer.done % save_every == 0 or trainer.done == trainer.recipe.updates:
                    file.flush()
                    trainer.save(checkpoint)
                    on_save(trainer)
        except KeyboardInterrupt:
            trainer.save(checkpoint)
            raise
    return seconds


def _rows_before(path: Path, done: int) -> list[dict[str, str]]:
    """Rows of an earlier log up to update `done`: a resumed run leaves no gap or overlap."""
    if not done or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["update"] and int(row["update"]) <= done]
