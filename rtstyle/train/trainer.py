"""One training, update by update.

Method: Johnson et al. 2016 with instance norm; Muon and Adam with warm-up, cosine decay and
gradient clipping; the shipped weights are an exponential moving average.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtstyle.errors import TrainingError, UsageError
from rtstyle.nets import build_net, per_style
from rtstyle.nets.checkpoint import read_checkpoint, write_checkpoint
from rtstyle.nets.contract import Grain
from rtstyle.nets.layers import channels_last
from rtstyle.train.losses import Disturbance, eased, random_disturbance, stability_loss
from rtstyle.train.optimizer import Optimizer
from rtstyle.train.perceptual import PerceptualNet
from rtstyle.train.recipe import Recipe
from rtstyle.train.ways import Terms, Way, Weights

# What a net keeps where the one that it starts from has none: statistics of batch norms, and how it
# mixes the picture's colours.
_KEPT = ("running_mean", "running_var", "num_batches_tracked", "skip.weight", "skip.bias")

_log = logging.getLogger("rtstyle")


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public name yet
    return bool(supported and supported())


def start_from(net: nn.Module, init: nn.Module, *, style: int | None = None) -> None:
    """Give `net` the weights of `init`, a net of its kind.

    Where `net` has a row for every style and `init` none, every style starts from the same one;
    where `init` has fewer, the further ones start from their mean, and so does a net of one style
    unless `style` says which row it takes. A batch norm starts from an instance norm's weights. A
    net that paints the difference to the picture starts with none, where `init` paints a whole one.
    A net for any painting may start from the net that paints inside it.
    Raises `TrainingError` when the shapes do not fit.
    """
    stylizer = getattr(net, "stylizer", None)
    if stylizer is not None and type(init) is type(stylizer):
        # the part that paints; the style decides nothing yet
        start_from(stylizer, init, style=style)
        with torch.no_grad():
            for parameter in per_style(stylizer):
                parameter[1:] = 0
        return
    state = init.state_dict()
    own = {id(parameter) for parameter in per_style(net)}
    rows = {name for name, parameter in net.named_parameters() if id(parameter) in own}
    kept: tuple[str, ...] = _KEPT
    if getattr(net, "skip", None) is not None and getattr(init, "skip", None) is None:
        kept += ("out.weight", "out.bias")
        state = {name: value for name, value in state.items() if not name.endswith(kept)}
    for name, value in net.state_dict().items():
        if name not in state:
            if name.endswith(kept):
                state[name] = value
            continue
        old = state[name]
        if value.dim() == old.dim() + 1:
            state[name] = old.expand_as(value)
        elif value.dim() == old.dim() - 1:
            state[name] = old.mean(0) if style is None else old[style]
        elif name in rows and value.shape[1:] == old.shape[1:] and len(value) > len(old):
            mean = old.mean(0, keepdim=True).expand(len(value) - len(old), *old.shape[1:])
            state[name] = torch.cat([old, mean])
    try:
        net.load_state_dict(state)
    except RuntimeError:
        raise TrainingError(
            "The model to start from has another shape than the recipe asks for: "
            f"{type(net).__name__} with {net.options} is expected."
        ) from None


def take_encoder(net: nn.Module, loss_net: PerceptualNet) -> None:
    """Give an AdaIN net the encoder that the paper gives it: the perceptual network.

    Raises `TrainingError` when their widths differ.
    """
    weights = loss_net.state_dict()
    encoder: nn.Module = net.encoder  # type: ignore[assignment]
    try:
        encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    except (KeyError, RuntimeError):
        raise TrainingError(
            f"The encoder of the net has other widths ({net.options}) than the perceptual network; "
            "pass the compressed VGG-19 with --loss-net."
        ) from None


class Trainer:
    """One training, advanced by `step` and made durable by `save`.

    Not safe to share between threads. `init` starts from the weights of another net of the same
    shape instead of random ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        way: Way,
        *,
        loss_net: PerceptualNet,
        device: torch.device | str = "cpu",
        init: nn.Module | None = None,
        names: Sequence[str] = (),
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.way, self.names = recipe, way, tuple(names)
        self.device = torch.device(device)
        self.loss_net = loss_net.to(self.device)
        self.half = _has_fast_bf16(self.device)
        if recipe.loss_net not in (None, loss_net.kind):
            raise TrainingError(
                f"The recipe asks for the perceptual network {recipe.loss_net}, and the weights "
                f"are of {loss_net.kind}; pass the others with --loss-net."
            )
        net = build_net(recipe.architecture, **recipe.options)
        stride = int(getattr(net, "stride", 1))
        for crop in (recipe.crop_at(0), recipe.crop_at(recipe.updates - 1)):
            if crop % stride or crop < 2 * stride:
                raise TrainingError(
                    f"Crops of {crop} pixels do not fit the net; a multiple of {stride}, "
                    f"{2 * stride} or more, is expected."
                )
        self.took_encoder = hasattr(net, "encode") and not hasattr(init, "encode")
        if self.took_encoder:
            take_encoder(net, loss_net)
        if init is not None:
            start_from(net, init, style=way.nearest(init, self))
        self.net, self.grain = net.to(self.device), Grain().to(self.device)
        self.rng = np.random.default_rng(recipe.seed)
        way.attach(self)
        way.to(self.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval()
        for module in (self.net, self.ema):
            channels_last(module)
        own = {id(parameter) for parameter in per_style(self.net)}
        if recipe.only is not None:
            for parameter in self.net.parameters():
                parameter.requires_grad_(id(parameter) in own)
        # What painting and reconstruction share, in a net that learns both.
        self._shared = (
            [p for p in self.net.parameters() if id(p) not in own and p.requires_grad]
            if hasattr(self.net, "reconstruct") and recipe.only is None
            else None
        )
        self.painting_pull = 0.0
        self.optimizers = {"optimizer": Optimizer(self.net, muon=recipe.muon)}
        for name, part in (("partners", way.partners), ("critics", way.critics)):
            if any(True for _ in part.parameters()):
                self.optimizers[name] = Optimizer(part, muon=False)
        self.done = 0  # updates made so far

    def step(self) -> dict[str, float]:
        """One update; returns the value of each loss term that had a part in it, unweighted.

        Raises `TrainingError` when a term is no number; the weights then stay the last good ones.
        """
        terms, weights = self.way.terms()
        values = {name: float(value.detach().mean()) for name, value in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"The {name} loss is {value} at update {self.done + 1}; training stopped with "
                    "the last good checkpoint kept. Try a lower --lr or another --seed."
                )
        self._update(terms, weights)
        values |= self.way.teach_critics()
        self.done += 1
        return values

    def reconstructs(self) -> bool:
        """Whether it is the turn of the auto-encoder, of a net that is one too."""
        every = self.recipe.reconstruct_every
        return self._shared is not None and bool(every) and self.done % every == every - 1

    def is_steadied(self) -> bool:
        """Whether the stability term is due."""
        r = self.recipe
        steady = r.stability_weight and self.done >= r.stability_from * r.updates
        return bool(steady) and self.done % r.stability_every == 0

    def stability(
        self, photo: Tensor, canvas: Tensor, painted: Tensor, style: Tensor | None = None
    ) -> Terms:
        """The stability term of `painted`, the net's picture of `photo` on `canvas`, where it is
        due; else nothing."""
        if not self.is_steadied():
            return {}
        following, disturbance = self._disturbed(photo)
        painted_next = self.paint(following + canvas, style)
        return {"stability": stability_loss(painted, painted_next, disturbance)}

    def canvas(self, photo: Tensor) -> Tensor:
        """A piece of the grain that exported nets see: (H, W), to be added to the photograph."""
        y, x = (int(start) for start in self.rng.integers(Grain.period, size=2))
        height, width = photo.shape[2:]
        grain: Tensor = self.grain(y + height, x + width)
        return grain[y:, x:] / 255

    def reconstruction(self, photo: Tensor) -> Tensor:
        """Mean squared error of the picture through encoder and decoder alone."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            back: Tensor = self.net.reconstruct(photo)  # type: ignore[operator]
        return (back.float() - photo).square().mean()

    def _update(self, terms: Terms, weights: Weights) -> None:
        r = self.recipe
        pulls = dict(terms)
        if "content" in terms:
            pulls["content"] = eased(terms["content"], r.content_reached)
        weighted = [(weights[name] * pull).mean() for name, pull in pulls.items()]
        total = torch.stack(weighted).sum()
        for module in (self.net, self.way.partners):
            module.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self._shared is not None:
            self._balance(reconstructing="reconstruction" in terms)
        if r.only is not None:
            for parameter in per_style(self.net):
                if parameter.grad is not None:
                    kept = parameter.grad[r.only].clone()
                    parameter.grad.zero_()[r.only] = kept
        nn.utils.clip_grad_norm_(self.net.parameters(), r.clip)
        for name in ("optimizer", "partners"):
            if name in self.optimizers:
                self.optimizers[name].step(r.lr_at(self.done))
        self._average()

    def _balance(self, *, reconstructing: bool) -> None:
        """Give reconstruction as large a pull on encoder and decoder as painting had last
        (Chen et al. 2017, §3.3, λ = 1)."""
        assert self._shared is not None
        grads = [p.grad for p in self._shared if p.grad is not None]
        norm = float(torch.stack([g.norm() for g in grads]).norm()) if grads else 0.0
        if not reconstructing:
            self.painting_pull = norm
        elif norm:
            for grad in grads:
                grad.mul_(self.painting_pull / norm)

    def _average(self) -> None:
        # early on the average follows closely, or it would remember the random start
        decay = min(self.recipe.ema, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for kept, new in zip(self.ema.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
            for average, running in zip(self.ema.buffers(), self.net.buffers(), strict=True):
                average.copy_(running)  # batch norm's are averages already

    # Convolutions run in bf16 where that is fast; norm statistics, Gram matrices and losses,
    # which are sums over many values, stay in float32.

    def paint(self, photo: Tensor, style: Tensor | None = None) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            painted: Tensor = self.net(photo, style)
        return painted.float()

    def features(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            features: dict[str, Tensor] = self.loss_net(image, layers)
        return features

    def _disturbed(self, photo: Tensor) -> tuple[Tensor, Disturbance]:
        """The photograph a moment later, and what happened to it."""
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**63)))
        disturbance = random_disturbance(photo, generator)
        return disturbance.photo(photo), disturbance

    def save(self, path: Path) -> None:
        """Write the whole state to `path` at once or not at all (safetensors)."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"way.{k}": v for k, v in self.way.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            tensors |= {f"{name}.{k}": v for k, v in optimizer.tensors().items()}
        write_checkpoint(
            path, self.ema, asdict(self.recipe),
            tensors=tensors, done=self.done, names=self.names,
            state={
                "rng": self.rng.bit_generator.state, "painting_pull": self.painting_pull,
                "weights": dict(self.way.weights),
            },
        )  # fmt: skip

    def resume(self, path: Path) -> None:
        """Take up the state that `save` wrote; later losses are those of an uninterrupted run.

        Where the recipe has another number of updates and is else the same, the schedule of what
        is left is that of the new number. Raises `TrainingError` for any other difference.
        """
        meta, tensors = read_checkpoint(path)
        # what an earlier version did not know was as it is by default
        before, now = asdict(Recipe()) | meta["recipe"], asdict(self.recipe)
        # also weights that are what they are by default, which another version may have changed
        before["weights"] = meta["state"].get("weights", before["weights"])
        now["weights"] = dict(self.way.weights) if "weights" in meta["state"] else now["weights"]
        changed = [name for name, value in now.items() if before[name] != value]
        if changed not in ([], ["updates"]):
            raise TrainingError(
                f"{path} was made with other settings ({', '.join(changed)}); "
                "repeat those, or start afresh with --restart."
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.net.load_state_dict(part("net."))
        self.ema.load_state_dict(part("ema."))
        self.way.load_state_dict(part("way."))
        for name, optimizer in self.optimizers.items():
            optimizer.load(part(f"{name}."))
        self.rng.bit_generator.state = meta["state"]["rng"]
        self.painting_pull = meta["state"]["painting_pull"]
        self.done = meta["done"]
        if changed:
            _log.warning(
                "The schedule is %s from %d updates to %d, of which %d are done.",
                "stretched" if now["updates"] > before["updates"] else "shortened",
                before["updates"], now["updates"], self.done,
            )  # fmt: skip


# Where torch computes.


DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device called "cpu" or "cuda"; with "auto" the GPU if there is one.

    Raises `UsageError` for another name, `TrainingError` when there is no such device.
    """
    if name not in DEVICES:
        raise UsageError(f"There is no device {name!r}; known are {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("There is no CUDA GPU that torch can use; pass --device cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
