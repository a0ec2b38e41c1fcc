"""A card as torch sees it: finding it, its errors as ours."""

from __future__ import annotations

import torch

from rtstyle.engines.card_memory import HINT, OutOfCardMemoryError
from rtstyle.errors import EngineError


def card(number: int | str) -> torch.device:
    """The card of this number, or "cpu". Raises `EngineError` where torch does not see it."""
    if number == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EngineError(
            "torch sees no CUDA card: a driver and a build of torch for CUDA are needed."
        )
    if not 0 <= int(number) < torch.cuda.device_count():
        raise EngineError(
            f"There is no card {number}; torch sees {torch.cuda.device_count()}, counted from 0."
        )
    return torch.device("cuda", int(number))


def card_name(device: torch.device) -> str:
    """The card for people: "NVIDIA H200 (cuda:0)"."""
    if device.type == "cpu":
        return "CPU"
    return f"{torch.cuda.get_device_name(device)} ({device})"


def card_error(doing: str, error: BaseException) -> EngineError:
    """What torch raised, as a sentence that begins with what was being done."""
    told = str(error).strip().splitlines()
    sentence = f"{doing}: {told[0] if told else 'out of memory'}"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return OutOfCardMemoryError(f"{sentence}; {HINT}.")
    return EngineError(sentence)
