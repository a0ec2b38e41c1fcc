"""Model cards of the shipped nets: what each file says of its training, and what was measured.

`python -m export cards` writes docs/models/. Figures come from docs/quality.md and quality.json
beside it, and every table says which network judged and whether the net was trained by it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import VARIANTS, shipped_folder

DOCS = Path(__file__).parents[1] / "docs"
_FIGURES = (
    ("Pareto ratio to Gatys@100", "pareto_ratio", 2),
    ("style loss", "style_loss", 3),
    ("content loss", "content_loss", 3),
    ("noise gain", "noise_gain", 2),
)
_USES = {
    "any_picture": "Style images that are far from the paintings it learned look weaker: its "
    "ratios on unseen paintings are above.",
    "johnson": "It has several times the work of the fast nets: for GPUs, and as a reference.",
    "many": "A mix of its styles is one pass; a mix of two pictures, as with another net, is two.",
}


def model_cards() -> dict[Path, str]:
    """Every page with its text: a card a net, and an index."""
    models = [read_model(path) for path in sorted(shipped_folder().glob("*.onnx"))]
    pages = {DOCS / "models" / f"{model.path.stem}.md": _card(model) for model in models}
    rows = [
        f"| [{model.path.stem}]({model.path.stem}.md) | {model.description} | {_names(model)} |"
        for model in models
    ]
    head = ["# Model cards", "", _WRITTEN, "", "| model | what it is | styles |", "|---|---|---|"]
    pages[DOCS / "models" / "index.md"] = "\n".join([*head, *rows, ""])
    return pages


def stale(pages: dict[Path, str]) -> dict[Path, str]:
    """The pages that are not on disk as they should be."""
    return {
        path: text
        for path, text in pages.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }


_WRITTEN = "Written by `python -m export cards` from the model files and the figures of quality."


def _card(model: ModelSpec) -> str:
    said: dict[str, Any] = dict(model.provenance)
    recipe = said.get("recipe", {})
    paintings = said.get("collection") or ", ".join(
        map(_painting, said.get("paintings") or [said["painting"]])
    )
    size = "" if "collection" in said else f"; the paintings at {recipe['style_size']} pixels"
    network = said["perceptual_network"]
    parts = [
        f"# {model.path.stem}",
        f"{model.description} {_WRITTEN}",
        "| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in _facts(model)),
    ]
    if model.style_descriptions and len(model.styles) > 1:
        lines = zip(model.styles, model.style_descriptions, strict=True)
        parts += ["## Styles", "\n".join(f"- **{name}**: {text}" for name, text in lines)]
    parts += [
        "## Trained on",
        f"- Paintings, all in the public domain: {paintings}.\n"
        f"- {said['photographs']} photographs under free licences, named in the NOTICE of the "
        f"repository, in crops of {recipe['crop']} pixels{size}.\n"
        f"- Perceptual network: {network}.\n"
        f"- {said['history'][0].upper()}{said['history'][1:]}.\n"
        f"- Last losses in training: {_losses(said['losses'])}.",
        "## Measured",
        *_measured(model, network),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(model)),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(model: ModelSpec) -> list[tuple[str, str]]:
    paths = {"fp32": model.path} | {name: _variant(model, name) for name in VARIANTS}
    files = [
        f"{name} {path.stat().st_size / 1e6:.1f} MB"
        for name, path in paths.items()
        if path.is_file()
    ]
    costs = next((e["figures"] for e in _entries(model) if "gmac" in e["figures"]), None)
    facts = [
        ("net", f"`{model.architecture}`, stride {model.stride}"),
        ("styles", str(len(model.styles)) if model.styles else "any picture"),
        ("files", ", ".join(files)),
        ("licence", model.licence),
    ]
    if costs:
        work = f"{costs['parameters']:,} parameters, {costs['gmac']:.2f} GMAC at 640×360"
        facts.insert(1, ("size", work))
    return facts


def _variant(model: ModelSpec, precision: str) -> Path:
    return model.path.parent / precision / model.path.name


def _measured(model: ModelSpec, network: str) -> list[str]:
    parts = []
    if rows := _named_row(model, "collection"):
        parts.append(
            "Judged by AlexNet, which no net of rtstyle was trained on: 463 photographs and 60 "
            "paintings that it never saw. [How](../quality.md)."
        )
        parts.append("\n".join(rows))
    if rows := _alexnet_rows(model):
        parts.append(
            "Judged by AlexNet, which no net of rtstyle was trained on, and by the face detector "
            "CenterFace; medians over five pictures never trained on, in brackets the net before. "
            "The columns of VGG-16 are by **the network that it was trained by**, and only say "
            "that training did what it should. [How](../quality.md)."
        )
        parts.append("\n".join(rows))
    if rows := _named_row(model, "net"):
        parts.append(
            "Medians over fifteen pictures never trained on, in brackets the net before. AlexNet "
            "taught no net of rtstyle; whether VGG-16 taught this one stands above. "
            "[How](../quality.md)."
        )
        parts.append("\n".join(rows))
    compressed = "compressed" in network and "VGG-16" not in network
    found = [e for e in _entries(model) if "pareto_ratio" in e["figures"]] if compressed else []
    if found:
        parts.append(
            "Judged by the compressed VGG-19, **the network that it was trained by, which flatters "
            "it**; medians over ten held-out photographs at 256 pixels. "
            "Gatys@100 is 100 steps of Gatys et al.: 1 is as good, 2 twice the losses. "
            "[How](../quality.md)."
        )
        head = ["painting never trained on" if model.style_input == "statistics" else "style"]
        lines = [_line(head + [name for name, _, _ in _FIGURES]), "|" + "---|" * 5]
        for entry in found:
            cells = [f"{entry['figures'][key]['median']:.{n}f}" for _, key, n in _FIGURES]
            name = _painting(entry["style"]) if entry["group"] == "unseen" else entry["style"]
            lines.append(_line([name, *cells]))
        parts.append("\n".join(lines))
    return parts or ["No figure of the look was made for this net."]


def _alexnet_rows(model: ModelSpec) -> list[str]:
    """The table of docs/quality.md that AlexNet judged, where it is of this model's styles."""
    text = (DOCS / "quality.md").read_text(encoding="utf-8")
    table = re.search(r"^\| style \|[^\n]*AlexNet[^\n]*\n(?:\|[^\n]*\n)+", text, re.MULTILINE)
    if table is None:
        return []
    lines = table[0].splitlines()
    names = {line.split("|")[1].strip(" *") for line in lines[2:]}
    return lines if names - {"median"} == set(model.styles) else []


def _named_row(model: ModelSpec, head_of: str) -> list[str]:
    """The line of this net in the table of docs/quality.md whose first column is so called."""
    text = (DOCS / "quality.md").read_text(encoding="utf-8")
    table = re.search(rf"^\| {head_of} \|[^\n]*\n(?:\|[^\n]*\n)+", text, re.MULTILINE)
    if table is None:
        return []
    head, rule, *lines = table[0].splitlines()
    mine = [line for line in lines if line.split("|")[1].strip(" `") == model.path.stem]
    return [head, rule, *mine] if mine else []


def _limits(model: ModelSpec) -> list[str]:
    kind = "any_picture" if model.style_input == "statistics" else model.architecture
    limits = [_USES[kind]] if kind in _USES else []
    if len(model.styles) > 1:
        limits.append(_USES["many"])
    limits += [
        "Strokes are of one size in pixels: large pictures look finer; `--stroke` or `--height` "
        "sets it.",
        "It paints frame by frame; `--steady` calms what flickers, and costs some strokes.",
    ]
    if _variant(model, "int8").is_file():
        limits.append("The INT8 file is 1 to 2 grey levels off, and faces are softer in it.")
    has_skip = model.provenance["recipe"]["options"].get("skip")
    if "faces" not in model.provenance["losses"] and not has_skip:
        limits.append("Faces were not weighted in its training, and fade at a webcam's distance.")
    return limits


def _entries(model: ModelSpec) -> list[dict[str, Any]]:
    document = json.loads((DOCS / "quality.json").read_text(encoding="utf-8"))
    return [e for e in document["entries"] if e["model"] == model.path.name]


def _names(model: ModelSpec) -> str:
    return ", ".join(model.styles) or "any picture"


def _losses(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in losses.items())


def _painting(name: str) -> str:
    return name.removesuffix(".jpg").replace("_", " ")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
