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


def build(kind: type[T], value: object, where: str = "result") -> T:
    """`value`, as `json.loads` gave it, as a `kind`: a dataclass of texts, numbers, lists, objects
    and other such dataclasses.

    Raises `ValueError`, which says where what was found instead of what, for fields that are
    missing, unknown or of another type, for numbers that are negative, not finite or beyond
    reason, and for texts that are long or hold what does not print.
    """
    if not is_dataclass(kind) or not isinstance(value, dict):
        raise _refusal(where, "an object", value)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    if unknown := set(map(str, value)) - set(known):
        raise ValueError(f"{where} has a field {min(unknown)[:40]!r} that is not known")
    values = {}
    for name, field in known.items():
        if name in value:
            values[name] = _value(hints[name], value[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {name}")
    return kind(**values)


def text(value: object, where: str) -> str:
    """A text that is short enough and prints. Raises `ValueError`."""
    if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
        raise _refusal(where, f"a printable text of up to {MOST_TEXT} characters", value)
    return value


def items(value: object, where: str) -> list[Any]:
    """A list that is short enough. Raises `ValueError`."""
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise _refusal(where, f"a list of up to {MOST_ITEMS} items", value)
    return value


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (kind,) = (one for one in arguments if one is not NoneType)
        return _value(kind, value, where)
    if kind is str:
        return text(value, where)
    if kind is bool:
        if not isinstance(value, bool):
            raise _refusal(where, "true or false", value)
        return value
    if kind in (int, float):
        return _number(kind, value, where)
    if origin is tuple:
        return tuple(
            _value(arguments[0], one, f"{where}[{place}]")
            for place, one in enumerate(items(value, where))
        )
    if origin is dict:
        if not isinstance(value, dict) or len(value) > MOST_ITEMS:
            raise _refusal(where, f"an object of up to {MOST_ITEMS} fields", value)
        return {
            text(name, where): _value(arguments[1], one, f"{where}.{name}")
            for name, one in value.items()
        }
    return build(kind, value, where)


def _number(kind: type, value: object, where: str) -> int | float:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is int and not whole:
        raise _refusal(where, "a whole number", value)
    if not (whole or isinstance(value, float)):
        raise _refusal(where, "a number", value)
    assert isinstance(value, (int, float))
    if not math.isfinite(value) or not 0 <= value <= _LARGEST:
        raise _refusal(where, "a finite number from 0", value)
    return value


def _refusal(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where[:80]} is {value!r:.40} where {wanted} is expected")
