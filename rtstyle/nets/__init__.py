"""The torch modules, one architecture a file; adding one is a file and a line here."""

from __future__ import annotations

from inspect import Parameter, signature
from pkgutil import resolve_name
from typing import Any

from torch import nn

from rtstyle.errors import ModelError

ARCHITECTURES = {
    "johnson": "rtstyle.nets.johnson:Johnson",
    "fast": "rtstyle.nets.fast:Fast",
    "texture-pyramid": "rtstyle.nets.texture_pyramid:TexturePyramid",
    "stylebank": "rtstyle.nets.stylebank:StyleBank",
    "fast-stylebank": "rtstyle.nets.stylebank:FastStyleBank",
    "regions": "rtstyle.nets.stylebank:Regions",
    "adain": "rtstyle.nets.adain:AdaIN",
    "fast-adain": "rtstyle.nets.adain:FastAdaIN",
}


def build_net(architecture: str, **options: Any) -> nn.Module:
    """Make an untrained net by the name of its architecture.

    Raises `ModelError` when the name or an option is unknown.
    """
    kind = _kind(architecture)
    parameters = signature(kind).parameters
    try:
        for name, value in options.items():
            usual = parameters[name].default if name in parameters else None
            if isinstance(usual, int) and not (isinstance(value, int) and value >= min(usual, 1)):
                raise TypeError(
                    f"{name} is a whole number of {min(usual, 1)} or more, not {value!r}"
                )
        net: nn.Module = kind(**options)
    except TypeError as error:
        raise ModelError(
            f"The architecture {architecture} does not take these options: {error}."
        ) from None
    return net


def styles_option(architecture: str, count: int) -> dict[str, int]:
    """The option that gives a net a style for each of `count` paintings; none for a net that takes
    paintings in another way, and for a single painting unless the net is one of several anyhow.

    Raises `ModelError` when the name is unknown.
    """
    styles = signature(_kind(architecture)).parameters.get("styles")
    if styles is None or (count == 1 and styles.default is not Parameter.empty):
        return {}
    return {"styles": count}


def _kind(architecture: str) -> type[nn.Module]:
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"There is no architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}."
        )
    kind: type[nn.Module] = resolve_name(ARCHITECTURES[architecture])
    return kind


def per_style(net: nn.Module) -> list[nn.Parameter]:
    """The parameters of which every style has a row of its own."""
    return [
        parameter
        for module in net.modules()
        if getattr(module, "styles", 0)
        for parameter in module.parameters(recurse=False)
    ]
