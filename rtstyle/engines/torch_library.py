"""Operations of torch's that are Triton kernels on a GPU and torch itself elsewhere, so that they
can be traced, compiled, and counted on meta tensors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch.library import Library, infer_schema, register_fake

T = TypeVar("T")
_log = logging.getLogger("rtstyle")
_library: Any = Library("rtstyle", "DEF")  # type: ignore[no-untyped-call]
# By operation: what starts its kernel, and the module that the kernel is in, its first argument.
LAUNCHERS: dict[str, tuple[Callable[..., Any], str]] = {}


@cache
def can_compile() -> bool:
    """Whether Triton can compile kernels here: it needs a C compiler."""
    if find_spec("triton") is None:
        return False
    try:
        probe = torch.zeros((1, 8, 2, 2), device="cuda", dtype=torch.float16)
        launch("block_statistics", probe.contiguous(memory_format=torch.channels_last), 1, 0)
    except Exception as error:  # Triton raises what its compilers do
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _log.warning(
            "Triton compiles no kernels (%s), so torch paints without them, more slowly; install a "
            "C compiler.",
            lines[0],
        )
        return False
    return True


def launch(name: str, *arguments: Any) -> Any:
    """Run the operation by its kernel."""
    start, module = LAUNCHERS[name]
    return start(import_module(module), *arguments)


def operation(
    reference: Callable[..., T], fake: Callable[..., T], start: Callable[..., T], module: str
) -> Any:
    """An operation of `torch.ops.rtstyle`, named like `reference`, which does it by torch. `fake`
    gives tensors of the result's shapes, and `start` runs the kernel out of `module`."""
    name = reference.__name__.lstrip("_")

    def on_gpu(*arguments: Any) -> Any:
        return launch(name, *arguments) if can_compile() else reference(*arguments)

    # not `custom_op`, which loads all of torch's compiler with the first call
    _library.define(name + infer_schema(reference, mutates_args=()))
    _library.impl(name, reference, "CPU")
    _library.impl(name, on_gpu, "CUDA")
    register_fake(f"rtstyle::{name}", fake, lib=_library)
    LAUNCHERS[name] = start, f"rtstyle.engines.{module}"
    return getattr(torch.ops.rtstyle, name)
