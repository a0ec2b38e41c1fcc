"""The optimiser of a training: Muon for convolutions, Adam for everything else.

Muon gives every direction of a kernel's update the same length. Style losses are badly conditioned:
under Adam a few loud directions drown the strokes, and as many updates get less far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rtstyle.nets.stylebank import Banks

KERNEL_LR = 10.0  # of Adam's; a kernel's update has the length that Adam's would have, times this
_LAYOUT = torch.channels_last
_LEAST = 4  # channels on either side: with fewer there are no directions to speak of


class Optimizer:
    """Updates the parameters of `net` that want a gradient. Not safe to share between threads.

    Without `muon` Adam updates the kernels too, with the momentum of adversarial training (Radford
    et al. 2016, §3). Raises `ValueError` when the net's kernels do not lie in memory as
    `torch.channels_last`.
    """

    def __init__(self, net: nn.Module, *, muon: bool = True) -> None:
        self._kernels = list(_kernels(net)) if muon else []
        own = {id(kernel.parameter) for kernel in self._kernels}
        for kernel in self._kernels:
            if kernel.row is None and not kernel.parameter.is_contiguous(memory_format=_LAYOUT):
                raise ValueError("Kernels must lie in memory as torch.channels_last.")
        # The same memory as matrices, of which Muon wants two dimensions.
        self._matrices = [nn.Parameter(k.matrix(k.parameter.data)) for k in self._kernels]
        rest = [p for p in net.parameters() if p.requires_grad and id(p) not in own]
        betas = (0.9 if muon else 0.5, 0.999)
        self._parts: list[torch.optim.Optimizer] = [torch.optim.Adam(rest, betas=betas)]
        if self._matrices:
            self._parts.append(Muon(self._matrices))

    def step(self, lr: float) -> None:
        """One update by the gradients that the net's parameters hold."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            grad = kernel.parameter.grad
            matrix.grad = None if grad is None else kernel.matrix(grad)
            # Muon would go on at full length in a bank that had no part in this update.
            if kernel.row is not None and matrix.grad is not None and not matrix.grad.any():
                matrix.grad = None
        for optimizer, factor in zip(self._parts, (1.0, KERNEL_LR), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next update depends on, by name."""
        return {
            f"{k}.{i}.{name}": torch.as_tensor(value)
            for k, part in enumerate(self._parts)
            for i, values in part.state_dict()["state"].items()
            for name, value in values.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `tensors` of the same net gave."""
        for k, part in enumerate(self._parts):
            state = part.state_dict()
            for key, value in tensors.items():
                at, i, name = key.split(".", 2)
                if int(at) == k:
                    state["state"].setdefault(int(i), {})[name] = value
            part.load_state_dict(state)


class _Kernel(NamedTuple):
    """A kernel, or the one in row `row` of `parameter`, which holds several."""

    parameter: nn.Parameter
    row: int | None = None
    channels: int = 0  # of such a row's output

    def matrix(self, tensor: Tensor) -> Tensor:
        """The kernel's part of the parameter or its gradient, as (out, in) in the same memory."""
        if self.row is not None:
            return tensor[self.row].view(self.channels, -1)
        return tensor.permute(0, 2, 3, 1).flatten(1)


def _kernels(net: nn.Module) -> Iterator[_Kernel]:
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if weight is None or not weight.requires_grad:
            continue
        if isinstance(module, Banks):
            yield from (_Kernel(weight, row, module.channels) for row in range(module.styles))
        elif isinstance(module, nn.Conv2d) and min(weight.shape[:2]) >= _LEAST:
            yield _Kernel(weight)


_A, _B, _C = 3.4445, -4.7750, 2.0315  # of the quintic, as the authors chose them
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Updates matrices along the orthogonal matrix nearest to their momentum, with Nesterov's
    step, as long as an update of Adam at that learning rate (Liu et al. 2025, "Muon is scalable for
    LLM training", §2.2)."""

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient; `closure` is not called."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p.grad)
                mean = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(mean, group["momentum"]))
                p.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(p.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the orthogonal matrix nearest to `matrix` (M, N): singular values end between 0.7 and
    1.2, by five Newton–Schulz iterations in the matrix's own precision."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
