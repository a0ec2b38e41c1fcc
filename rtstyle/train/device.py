"""Where torch computes."""

from __future__ import annotations

import torch

from rtstyle.errors import TrainingError, UsageError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device called "cpu" or "cuda"; with "auto" the GPU if there is one.

    Raises `UsageError` for another name, `TrainingError` when there is no such device.
    """
    if name not in DEVICES:
        raise UsageError(f"There is no device {name!r}; known are {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("There is no CUDA GPU that torch can use; pass --device cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
