"""What the page needs to know: the gallery, and to paint by itself, the files and their facts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtstyle.errors import ModelError, StyleNotFoundError
from rtstyle.live.settings import Settings
from rtstyle.model.file import read_model
from rtstyle.model.onnx_reader import check_safe
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import shipped_folder
from rtstyle.style.encoder import arbitrary_style_model, read_style_encoder
from rtstyle.style.style import Style, can_mix
from rtstyle.web.graph import without_round
from rtstyle.web.runtime import BACKENDS, stored


def gallery_message(styles: Sequence[Style], plan: Plan | None = None) -> dict[str, Any]:
    """The gallery for the page: names, descriptions, and a `family` of those that can be mixed;
    with a `plan` also how to paint each."""
    families: list[Style] = []
    rows = []
    for style in styles:
        place = next((i for i, one in enumerate(families) if can_mix(one, style)), len(families))
        if place == len(families):
            families.append(style)
        row: dict[str, Any] = {"name": style.name, "about": style.description, "family": place}
        if plan is not None and style.model.path in plan.models:
            vector = None if style.vector is None else style.vector[0].tolist()
            row |= {"model": plan.models[style.model.path]["id"], "vector": vector}
        rows.append(row)
    return {"gallery": rows}


def settings_message(settings: Settings) -> dict[str, Any]:
    """The settings for the page."""
    return {
        "settings": {
            "style": settings.style.name,
            "partner": settings.partner.name if settings.partner else None,
            "blend": settings.blend,
            "strength": settings.strength,
            "color": settings.preserve_color,
            "split": settings.split,
            "mirror": settings.mirror,
            "pause": settings.paused,
            "record": settings.recording,
            "scene": settings.scene,
            "fade": settings.fade,
            "cycle": settings.cycle,
            "stroke": settings.stroke,
            "steady": settings.steady,
            "on": {
                area.where: [
                    area.style.name if area.style else area.backdrop and area.backdrop.name,
                    area.strength,
                ]
                for area in settings.areas
            },
            "moved": [m.knob for m in settings.modulations],
        }
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """How browsers paint: `files` by their addresses, relative to the page, and `document` for
    engine.js. `models` has the models that browsers can run, by path; "light" names the one that is
    quicker without a GPU."""

    files: dict[str, bytes | Path]
    document: dict[str, Any]
    models: dict[Path, dict[str, Any]] = field(default_factory=dict)


def plan_painting(styles: Sequence[Style], runtime: Path, *, any_picture: bool = True) -> Plan:
    """The plan for `styles`, and for any picture as one, with the runtime's files in `runtime`.

    Models of other makers, with float inputs or a fixed size, are left to the server. Raises
    `ModelError` when there is none that browsers can run.
    """
    plan = Plan({}, {"runtime": {}, "models": {}, "any": False})
    for backend, names in BACKENDS.items():
        module, glue, code = (f"runtime/{stored(name)}" for name in names)
        for address in (module, glue, code):
            plan.files[address] = runtime / Path(address).name
        size = (runtime / Path(code).name).stat().st_size
        plan.document["runtime"][backend] = {
            "module": module,
            "glue": glue,
            "wasm": {"url": code, "bytes": size},
        }
    for style in styles:
        if style.model.path not in plan.models and _runs_in_browsers(style.model):
            _add(plan, style.model)
    if not plan.models:
        raise ModelError("None of these styles has a model that browsers can run.")
    masks = shipped_folder() / "masks" / "person.onnx"
    if masks.is_file():
        plan.document["masks"] = _file(plan, masks)
    if any_picture:
        try:
            model = arbitrary_style_model()
            encoder = read_style_encoder(model)
        except (StyleNotFoundError, ModelError):
            return plan
        if _runs_in_browsers(model):
            facts = plan.models.get(model.path) or _add(plan, model)
            facts["encoder"] = {
                "file": _file(plan, encoder.path),
                "stride": encoder.stride,
                "image_size": encoder.image_size,
            }
            plan.document["any"] = True
    return plan


def _runs_in_browsers(model: ModelSpec) -> bool:
    is_onnx = model.path.suffix == ".onnx"
    return is_onnx and model.layout == "nhwc" and model.size is None and model.batch in (None, 1)


def _add(plan: Plan, model: ModelSpec) -> dict[str, Any]:
    file = _file(plan, model.path)
    facts = {
        "id": Path(file["url"]).stem,
        "file": file,
        "input": model.frame_input,
        "stride": model.stride,
        "style_size": model.style_size,
        "takes_strength": model.takes_strength,
    }
    plan.models[model.path] = plan.document["models"][facts["id"]] = facts
    if (light := _lighter(model)) is not None:
        facts["light"] = _add(plan, light)["id"]
    return facts


def _lighter(model: ModelSpec) -> ModelSpec | None:
    """The smaller net of the same styles beside a model, such as gallery_light.onnx."""
    path = model.path.with_stem(f"{model.path.stem}_light")
    light = read_model(path) if path.is_file() else None
    return light if light and light.styles == model.styles and _runs_in_browsers(light) else None


def _file(plan: Plan, path: Path) -> dict[str, Any]:
    """Names hold a part of the content's digest, so that browsers may keep them for good."""
    check_safe(path)
    content = without_round(path.read_bytes())
    url = f"models/{path.stem}-{hashlib.sha256(content).hexdigest()[:10]}.onnx"
    plan.files[url] = content
    return {"url": url, "bytes": len(content)}
