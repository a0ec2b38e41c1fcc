"""Tiny models that several rooms test with: made once a run, with fixed seeds."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rtstyle.bench.parity import require_parity
from rtstyle.engines import has_nvidia_driver
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import build_net
from rtstyle.train.recipe import Recipe
from rtstyle.train.to_onnx import ModelCard, write_model

torch.set_num_threads(1)  # tiny nets gain nothing from more, and threads would fight
# A shell's background jobs ignore Ctrl-C, and pass that on to the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker `gpu`: without one its tests are skipped, or fail under RTSTYLE_REQUIRE_CUDA."""
    if item.get_closest_marker("gpu") is None or has_nvidia_driver():
        return
    if os.environ.get("RTSTYLE_REQUIRE_CUDA"):
        pytest.fail("RTSTYLE_REQUIRE_CUDA is set, and there is no NVIDIA driver")
    pytest.skip("there is no NVIDIA driver")


TINY = {"width": 4, "blocks": 1}


@pytest.fixture(scope="session")
def tiny_net() -> nn.Module:
    """An untrained Johnson net of width 4. Nobody changes it."""
    torch.manual_seed(0)
    return build_net("johnson", **TINY).eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_net` as training leaves it."""
    path = tmp_path_factory.mktemp("tiny") / "checkpoint.safetensors"
    tensors = {f"ema.{name}": value for name, value in tiny_net.state_dict().items()}
    meta = {"recipe": asdict(Recipe(architecture="johnson", options=TINY)), "done": 7, "rng": {}}
    save_file(tensors, path, metadata={"rtstyle": json.dumps(meta)})
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """`tiny_net` as a model file."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    card = ModelCard(("Tiny Waves",), "A test.", "CC0-1.0", {"painting": "none"})
    write_model(tiny_net, path, card, architecture="johnson", check=require_parity)
    return read_model(path)
