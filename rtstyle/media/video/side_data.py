"""What FFmpeg says beside a frame's picture, also of kinds that PyAV has no name for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from av import VideoFrame
from av.sidedata.sidedata import SideData, Type

_LATEST = 64  # far beyond the last number that FFmpeg 8 gives


def _named(number: int, name: str) -> Type:
    """The kind of this number; PyAV 18 refuses a whole frame for one that its list lacks."""
    known: dict[int, Any] = Type._value2member_map_
    if number not in known:
        known[number] = object.__new__(Type)
        known[number]._name_, known[number]._value_ = name, number
    return cast(Type, known[number])


EXIF = _named(31, "EXIF")
for _number in range(_LATEST):
    _named(_number, f"KIND_{_number}")


def side_data_of(frame: VideoFrame) -> Mapping[Type, SideData]:
    """By kind."""
    return cast(Mapping[Type, SideData], frame.side_data)
