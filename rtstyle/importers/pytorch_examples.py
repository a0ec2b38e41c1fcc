"""The nets of pytorch/examples `fast_neural_style`, of any width and any version.

They are Johnson's with instance norm, for values from 0 to 255; that goes into the first and the
last convolution. Old versions call a norm's weight and bias `scale` and `shift`; running
statistics, which old versions stored and never used, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile
from rtstyle.nets.johnson import Johnson

_EPS = 1e-5


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the one file, if that is such a net."""
    if len(files) != 1 or files[0].kind not in ("torch", "safetensors"):
        return None
    theirs = files[0].tensors
    if not {"conv1.conv2d.weight", "res1.conv1.conv2d.weight", "deconv3.conv2d.weight"} <= set(
        theirs
    ):
        return None
    first = theirs["conv1.conv2d.weight"]
    if first.ndim != 4 or first.shape[1:] != (3, 9, 9):
        raise ModelError(
            f"{files[0].path.name}: conv1 has the shape {list(first.shape)}; (width, 3, 9, 9) was "
            "expected."
        )
    blocks = max(int(name[3 : name.index(".")]) for name in theirs if name.startswith("res"))
    net = Johnson(width=first.shape[0], blocks=blocks, eps=_EPS)
    weights = _ours(theirs, blocks)
    factors = {"encoder.0.conv.weight": 255, "out.weight": 1 / 255, "out.bias": 1 / 255}
    weights |= {name: weights[name] * factors[name] for name in factors if name in weights}
    load_weights(net, weights, of=files[0].path.name)
    return Imported(net, "johnson", "pytorch/examples fast_neural_style")


def _ours(theirs: dict[str, NDArray[Any]], blocks: int) -> dict[str, NDArray[Any]]:
    pairs = {f"conv{i}": f"encoder.{i - 1}.conv" for i in (1, 2, 3)}
    pairs |= {f"in{i}": f"encoder.{i - 1}.norm" for i in (1, 2, 3)}
    for k in range(1, blocks + 1):
        for i, ours in ((1, "first"), (2, "second")):
            pairs[f"res{k}.conv{i}"] = f"body.{k - 1}.{ours}.conv"
            pairs[f"res{k}.in{i}"] = f"body.{k - 1}.{ours}.norm"
    pairs |= {"deconv1": "up1.conv", "in4": "up1.norm", "deconv2": "up2.conv", "in5": "up2.norm"}
    pairs["deconv3"] = "out"
    weights = {}
    for name, ours in pairs.items():
        for part, old in (("weight", "scale"), ("bias", "shift")):
            for candidate in (f"{name}.conv2d.{part}", f"{name}.{part}", f"{name}.{old}"):
                if candidate in theirs:
                    weights[f"{ours}.{part}"] = theirs[candidate].reshape(
                        theirs[candidate].shape if "conv2d" in candidate else -1
                    )
    return weights
