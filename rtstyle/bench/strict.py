"""A frozen dataclass from JSON that anybody may have written: what does not fit is refused."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
MOST_TEXT = 4096  # characters of one text
MOST_ITEMS = 5000  # in one list or object
_LARGEST = 1e15  # of any number; there is no figure that large, and none below 0


def build(kind: type[T], told: object, where: str = "result") -> T:
    """`told`, as `json.loads` gave it, as a `kind`: a dataclass of texts, numbers, lists, objects
    and other such dataclasses.

    Raises `ValueError`, which says where what was found instead of what, for fields that are
    missing, unknown or of another type, for numbers that are negative, not finite or beyond
    reason, and for texts that are long or hold what does not print.
    """
    if not is_dataclass(kind) or not isinstance(told, dict):
        raise _refusal(where, "an object", told)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    if unknown := set(map(str, told)) - set(known):
        raise ValueError(f"{where} has a field {min(unknown)[:40]!r} that is not known")
    values = {}
    for name, field in known.items():
        if name in told:
            values[name] = _value(hints[name], told[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
    return kind(**values)


def text(told: object, where: str) -> str:
    """A text that is short enough and prints. Raises `ValueError`."""
    if not isinstance(told, str) or len(told) > MOST_TEXT or not told.isprintable():
        raise _refusal(where, f"a printable text of up to {MOST_TEXT} characters", told)
    return told


def items(told: object, where: str) -> list[Any]:
    """A list that is short enough. Raises `ValueError`."""
    if not isinstance(told, list) or len(told) > MOST_ITEMS:
        raise _refusal(where, f"a list of up to {MOST_ITEMS} items", told)
    return told


def _value(kind: Any, told: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if told is None and NoneType in arguments:
            return None
        (kind,) = (one for one in arguments if one is not NoneType)
        return _value(kind, told, where)
    if kind is str:
        return text(told, where)
    if kind is bool:
        if not isinstance(told, bool):
            raise _refusal(where, "true or false", told)
        return told
    if kind in (int, float):
        return _number(kind, told, where)
    if origin is tuple:
        return tuple(
            _value(arguments[0], one, f"{where}[{place}]")
            for place, one in enumerate(items(told, where))
        )
    if origin is dict:
        if not isinstance(told, dict) or len(told) > MOST_ITEMS:
            raise _refusal(where, f"an object of up to {MOST_ITEMS} fields", told)
        return {
            text(name, where): _value(arguments[1], one, f"{where}.{name}")
            for name, one in told.items()
        }
    return build(kind, told, where)


def _number(kind: type, told: object, where: str) -> int | float:
    whole = isinstance(told, int) and not isinstance(told, bool)
    if kind is int and not whole:
        raise _refusal(where, "a whole number", told)
    if not (whole or isinstance(told, float)):
        raise _refusal(where, "a number", told)
    assert isinstance(told, (int, float))
    if not math.isfinite(told) or not 0 <= told <= _LARGEST:
        raise _refusal(where, "a finite number from 0", told)
    return told


def _refusal(where: str, wanted: str, told: object) -> ValueError:
    return ValueError(f"{where[:80]} is {told!r:.40} where {wanted} is expected")
