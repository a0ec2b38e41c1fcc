"""What a training keeps on disk: weights, settings and the state to go on from (safetensors)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rtstyle.errors import ModelError, TrainingError
from rtstyle.files import atomic_write
from rtstyle.nets import build_net


def write_checkpoint(
    path: Path,
    net: nn.Module,
    settings: Mapping[str, Any],
    *,
    tensors: Mapping[str, Tensor] | None = None,
    done: int = 0,
    names: Sequence[str] = (),
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write a net that can paint, and the state to go on training from, at once or not at all.

    `settings` are those of its training, JSON's types by name; `architecture` and `options`, those
    of `build_net`, are what loading the net needs of them.

    Raises `TrainingError` when the disk does not take it; an earlier file of that name stays.
    """
    everything = dict(tensors or {}) | {f"ema.{k}": v for k, v in net.state_dict().items()}
    meta = {
        "recipe": dict(settings), "model": net_facts(net), "styles": list(names), "done": done,
        "state": dict(state or {}),
    }  # fmt: skip
    try:
        with atomic_write(path) as part:
            # save_file() would make a file that its owner alone can read.
            part.write_bytes(save(
                {k: v.detach().cpu().contiguous().clone() for k, v in everything.items()},
                metadata={"rtstyle": json.dumps(meta)},
            ))  # fmt: skip
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be written ({error}); an earlier one is untouched."
        ) from error


def net_facts(net: nn.Module) -> dict[str, Any]:
    """What a model file and a checkpoint say of a net, in the words of `ModelSpec`."""
    any_painting = hasattr(net, "encode")
    return {
        "stride": int(net.stride),  # type: ignore[arg-type]
        "style_size": int(getattr(net, "style_size", 0)),
        "style_input": "statistics" if any_painting else "weights",
        "takes_strength": any_painting,
        "grain": bool(getattr(net, "grain", True)),
        "options": dict(net.options),  # type: ignore[arg-type]
    }


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata and tensors of a checkpoint. Raises `ModelError` when it is none."""
    try:
        with safe_open(path, framework="pt") as f:
            meta = json.loads((f.metadata() or {})["rtstyle"])
            return meta, {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is no rtstyle checkpoint that can be read ({error}).") from error


def load_checkpoint_net(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged net of a checkpoint, ready to paint, and the settings of its training."""
    meta, tensors = read_checkpoint(path)
    settings: dict[str, Any] = meta["recipe"]
    net = build_net(settings["architecture"], **settings["options"])
    net.load_state_dict(
        {k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")}
    )
    return net.eval(), settings
