"""The loop around a training: checkpoints, the log of its losses, resuming."""

from __future__ import annotations

import csv
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rtstyle.errors import TrainingError
from rtstyle.train.trainer import Trainer


def train(
    trainer: Trainer,
    *,
    folder: Path,
    save_every: float = 60.0,
    on_step: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    on_save: Callable[[Trainer], None] = lambda trainer: None,
) -> float:
    """Run `trainer` to its end, keeping `checkpoint.safetensors` and `losses.csv` in `folder`,
    written every `save_every` seconds and at the end.

    `on_step` gets the number of updates done and their losses; `on_save` follows every checkpoint.
    Ctrl-C and SIGTERM end the update in hand and save before they are passed on, as
    `KeyboardInterrupt`; a second one does not wait. Returns the seconds that all its updates took,
    those before a resume too. Raises `TrainingError` when the folder cannot be written.
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
    save_every: float,
    on_step: Callable[[int, dict[str, float]], None],
    on_save: Callable[[Trainer], None],
) -> float:
    checkpoint, log_path = folder / "checkpoint.safetensors", folder / "losses.csv"
    columns = ("update", *trainer.way.columns, "lr", "seconds")
    seconds = _shortened(log_path, trainer.done, columns)
    start = saved = time.monotonic()
    start -= seconds
    with log_path.open("a", newline="", encoding="utf-8") as file, _interrupts() as interrupted:
        log = csv.DictWriter(file, columns)

        def save() -> None:
            file.flush()  # first: a checkpoint further than its log would leave a gap
            trainer.save(checkpoint)

        while trainer.done < trainer.recipe.updates:
            lr = trainer.recipe.lr_at(trainer.done)
            try:
                losses = trainer.step()
                seconds = time.monotonic() - start
                log.writerow(
                    {"update": trainer.done, "lr": f"{lr:.3g}", "seconds": f"{seconds:.1f}"}
                    | {name: f"{value:.5g}" for name, value in losses.items()}
                )
                on_step(trainer.done, losses)
                if interrupted.is_set():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                save()
                raise
            if time.monotonic() - saved >= save_every or trainer.done == trainer.recipe.updates:
                save()
                on_save(trainer)
                saved = time.monotonic()
    return seconds


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Within it, the first Ctrl-C or SIGTERM sets the event alone, so that no update is cut in
    two; the next is what it was before. In the main thread only: others get no signals."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {n: signal.getsignal(n) or signal.SIG_DFL for n in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:
        event.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        restore()


def _shortened(path: Path, done: int, columns: Sequence[str]) -> float:
    """Cut an earlier log after update `done`, so that a resumed run leaves no gap or overlap, or
    begin one; the file is whole at every moment. Returns the seconds up to there."""
    rows: list[dict[str, str]] = []
    if done and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {name: row.get(name) or "" for name in columns}
                for row in csv.DictReader(file)
                if row.get("seconds") and int(row["update"]) <= done  # none in a row cut short
            ]
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            log = csv.DictWriter(file, columns)
            log.writeheader()
            log.writerows(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return float(rows[-1]["seconds"]) if rows else 0.0
