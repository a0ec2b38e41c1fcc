"""A style as a TensorFlow Lite file: `python -m export tflite STYLE -o FILE.tflite --size 640x360`.

By litert-torch, from the torch net that the model file holds; converters that start from ONNX
confuse the axes of our nets.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from rtstyle.demo import sample_photos
from rtstyle.engines import open_engine
from rtstyle.errors import MissingExtraError, ModelError, UsageError
from rtstyle.files import check_output, write_output
from rtstyle.nets.contract import Grain
from rtstyle.nets.onnx_weights import load_onnx_net
from rtstyle.style.style import Style

_MEAN, _P999 = 0.5, 2.0  # grey levels: rtstyle rounds to whole ones, this does not


class _Baked(nn.Module):
    """One style at one size: (1, H, W, 3) float RGB in [0, 1] → the same."""

    def __init__(self, style: Style, size: tuple[int, int]) -> None:
        super().__init__()
        self.net, spec = load_onnx_net(style.model.path)
        grain = Grain()(*size) / 255 if spec.grain else torch.zeros(size)
        self.grain = nn.Buffer(grain)
        conditions = [] if style.vector is None else [torch.from_numpy(style.vector.copy())]
        if spec.takes_strength:
            conditions.append(torch.ones(1))
        self.conditions = conditions

    def forward(self, picture: Tensor) -> Tensor:
        planes = picture.permute(0, 3, 1, 2) + self.grain
        stylized: Tensor = self.net(planes, *self.conditions)
        return stylized.clamp(0, 1).permute(0, 2, 3, 1)


def write_tflite(style: Style, output: Path, size: tuple[int, int]) -> tuple[float, float]:
    """Write `style` for pictures of `size`, (height, width); mean and 99.9th percentile of the
    difference to the engine in grey levels.

    Raises `UsageError` for a size that the net cannot paint, `MissingExtraError` without
    litert-torch, `ModelError` when the file paints otherwise, and then writes nothing.
    """
    if any(side % style.model.stride or side < 2 * style.model.stride for side in size):
        raise UsageError(
            f"{style.model.path.name} paints sides that are multiples of {style.model.stride}, "
            f"not {size[1]}x{size[0]}."
        )
    check_output(output, overwrite=False)
    try:
        import litert_torch
    except ImportError as error:
        raise MissingExtraError(
            f"A TensorFlow Lite file is made by litert-torch ({error}): pip install litert-torch."
        ) from None
    example = torch.zeros(1, *size, 3)
    program: Any = litert_torch.convert(_Baked(style, size).eval(), (example,))
    differences = []
    with open_engine("auto", style.model) as engine:
        for photo in sample_photos():
            picture = np.asarray(cv2.resize(photo, size[::-1]), np.uint8)[None]
            expected = engine.submit(picture, style.vector, 1.0).result()
            painted = np.asarray(program(torch.from_numpy(picture.astype(np.float32) / 255)))
            differences.append(np.abs(painted * 255 - expected))
    mean, p999 = float(np.mean(differences)), float(np.percentile(differences, 99.9))
    if not (mean <= _MEAN and p999 <= _P999):
        raise ModelError(
            f"TensorFlow Lite paints {style.name} {mean:.2f} grey levels away from the engine on "
            f"average, {p999:.1f} at the 99.9th percentile; at most {_MEAN:g} and {_P999:g} are "
            "allowed."
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.tflite"
        program.export(str(path))
        write_output(output, path.read_bytes(), overwrite=False)
    return mean, p999
