"""The report as Markdown: one table a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.quality.entries import SHIPPED, UNSEEN

NOT_MEASURED, NOT_TOLD = "not measured", "not told"
UNCHANGED = 0.25  # of the style gap: a picture that closed less looks like the photograph
STABILITY, SINGLE, LOSSES = "stability", "single", "losses"  # groups with tables of their own

Row = dict[str, Any]  # one entry of the report
Column = tuple[str, Callable[[Row], str]]


def markdown(document: dict[str, Any]) -> str:
    """All tables of the report, each with its heading."""
    entries: list[Row] = document["entries"]
    total, compared = len(document["photographs"]), document["pareto_photographs"]
    legend = _LEGEND + (f" {_spared(compared)}" if compared < total else "")
    parts = [f"# Quality, on {total} held-out photographs", legend]
    for group in dict.fromkeys(entry["group"] for entry in entries):
        rows = [entry for entry in entries if entry["group"] == group]
        if group in (STABILITY, SINGLE):  # a row is a pair
            rows = [entry for entry in rows if entry["against"]]
        heading, columns = _layout(group, entries)
        parts.append(f"## {heading}")
        others = {count for row in rows if (count := _compared(row))} - {compared}
        parts += [_spared(count) for count in sorted(others)]  # of an earlier report
        parts.append(_table(columns, rows))
        if any(
            name in row["figures"] for row in rows for name in ("lpips", "davis_warp", "faces_kept")
        ):
            parts.append(_table([("net", _label), ("model", _model), *_INDEPENDENT], rows))
        if group == SHIPPED:
            parts += ["## Shipped models, over all of their styles", _table(_MODELS, _models(rows))]
    if document["clips"]:
        parts += ["## The clips' own warping error", _clips(document["clips"])]
    return "\n\n".join(parts) + "\n"


_LEGEND = (
    "Medians over photographs at 256 pixels. Pareto ratio: 1 is as good as Gatys et al. after 100 "
    "steps of L-BFGS at some trade-off, smaller is better. Style and content loss are relative. "
    "Noise gain: ‖S(x + n) − S(x)‖ / ‖n‖. Warping errors are those of Lai et al. 2018, times 1000. "
    "GMAC and frames a second are for 640×360. VGG-16 at Johnson's layers judges nets trained with "
    "another network; AlexNet, by style and LPIPS, all of them. DAVIS: ten clips at 512², in grey "
    "levels; steadied: by `--steady 1`. Faces kept: the detector's score of the painted face as a "
    "share of the photograph's, the mean over held-out portraits."
)


def _spared(compared: int) -> str:
    return f"Pareto ratios are those of {compared} of the photographs."


def _compared(row: Row) -> int:
    """How many photographs the Pareto ratio of an entry is the median of; 0 if it has none."""
    return len(_each(row, "pareto_ratio"))


def value(row: Row, name: str) -> float | None:
    """A figure as one number: its median, its mean, or itself; None when it was not measured."""
    figure = row["figures"].get(name)
    if isinstance(figure, dict):
        figure = figure.get("median", figure.get("mean"))
    return figure if isinstance(figure, int | float) else None


def _layout(group: str, entries: list[Row]) -> tuple[str, list[Column]]:
    if group == SHIPPED:
        return "Shipped styles", [("style", _label), ("model", _model), *_LOOK, *_STABLE, *_COST]
    if group == UNSEEN:
        return "Any painting: paintings never trained on", [
            ("painting", _label),
            *_LOOK,
            _figure("style gap closed", "style_gap_closed", ".0%"),
            _figure("pixels moved", "pixels_moved", ".0%"),
            ("content unchanged", _unchanged),
            *_STABLE,
        ]
    by_label = {entry["label"]: entry for entry in entries}

    def other(row: Row) -> Row | None:
        return by_label.get(row["against"])

    if group == STABILITY:
        return "With and without the stability term", [
            ("net without", _label), ("net with", _against),
            *(column for title, name, places, factor in _COMPARED
              for column in _ratio(title, name, places, factor, other)),
        ]  # fmt: skip
    if group == SINGLE:
        return "One style of many against a net of its own", [
            ("net of its own", _label),
            ("one of many", _against),
            *_change("style loss", "style_loss", other),
            *_change("content loss", "content_loss", other),
        ]
    name = [("net", _label)]
    if group == LOSSES:
        name.append(("trained with", _trained_with))
    return group[:1].upper() + group[1:], [*name, *_LOOK, *_STABLE, *_COST]


def _models(rows: list[Row]) -> list[Row]:
    """One row a model: medians over all of its styles and photographs, which scatter less than
    those of a single style."""
    models = [
        [row for row in rows if row["model"] == name]
        for name in dict.fromkeys(row["model"] for row in rows)
    ]
    return [
        {
            "label": of_one[0]["model"],
            "figures": {"styles": len(of_one)}
            | {
                name: {"median": median(each)}
                for name in ("pareto_ratio", "style_loss", "content_loss", "noise_gain")
                if (each := [n for row in of_one for n in _each(row, name)])
            },
        }
        for of_one in models
    ]


def _each(row: Row, name: str) -> list[float]:
    """A figure on every photograph; empty when it was not measured."""
    figure = row["figures"].get(name)
    return list(figure["each"]) if isinstance(figure, dict) else []


def _figure(title: str, name: str, places: str, factor: float = 1.0) -> Column:
    return title, lambda row: _number(value(row, name), places, factor)


def _number(number: float | None, places: str, factor: float = 1.0) -> str:
    return NOT_MEASURED if number is None else format(number * factor, places)


def _ratio(
    title: str, name: str, places: str, factor: float, other: Callable[[Row], Row | None]
) -> list[Column]:
    """Without, with, and with over without: below 1 the term helped."""

    def with_term(row: Row) -> float | None:
        against = other(row)
        return None if against is None else value(against, name)

    def ratio(row: Row) -> str:
        without, steadier = value(row, name), with_term(row)
        return NOT_MEASURED if not without or steadier is None else f"{steadier / without:.2f}"

    return [
        _figure(f"{title} without", name, places, factor),
        ("with", lambda row: _number(with_term(row), places, factor)),
        ("ratio", ratio),
    ]


def _change(title: str, name: str, other: Callable[[Row], Row | None]) -> list[Column]:
    def change(row: Row) -> str:
        against = other(row)
        own, many = value(row, name), None if against is None else value(against, name)
        return NOT_MEASURED if not own or many is None else f"{many / own - 1:+.1%}"

    def many(row: Row) -> str:
        against = other(row)
        return _number(None if against is None else value(against, name), ".3f")

    return [_figure(f"{title}, own net", name, ".3f"), ("of many", many), ("change", change)]


def _label(row: Row) -> str:
    return str(row["label"])


def _model(row: Row) -> str:
    return str(row["model"])


def _against(row: Row) -> str:
    return str(row["against"] or NOT_MEASURED)


def _trained_with(row: Row) -> str:
    return str(row["figures"].get("style_loss_trained_with", NOT_MEASURED))


def _unchanged(row: Row) -> str:
    closed = value(row, "style_gap_closed")
    return NOT_MEASURED if closed is None else "yes" if closed < UNCHANGED else "no"


def _clips(clips: dict[str, Any]) -> str:
    rows = [{"label": name, "figures": values} for name, values in clips.items()]
    return _table(
        [("clip", _label), _figure("frames", "frames", ".0f"),
         _figure("warping error", "warping_error_itself", ".2f", 1000)], rows,
    )  # fmt: skip


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    lines = [
        [title for title, _ in columns],
        ["---"] * len(columns),
        *([cell(row).replace("|", "\\|") for _, cell in columns] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_LOOK = [
    _figure("Pareto ratio", "pareto_ratio", ".2f"),
    _figure("style loss", "style_loss", ".3f"),
    _figure("content loss", "content_loss", ".3f"),
]
_MODELS: list[Column] = [
    ("model", _label),
    _figure("styles", "styles", ".0f"),
    *_LOOK,
    _figure("noise gain", "noise_gain", ".2f"),
]
_STABLE = [
    _figure("noise gain", "noise_gain", ".2f"),
    _figure("warping error, synthetic flow", "warping_error_synthetic", ".2f", 1000),
    _figure("warping error, clips", "warping_error_clips", ".2f", 1000),
]
_INDEPENDENT = [
    ("loss network", lambda row: str(row["figures"].get("loss_net", NOT_TOLD))),
    _figure("VGG-16 style", "vgg_style", ".2f"),
    _figure("VGG-16 content", "vgg_content", ".2f"),
    _figure("Pareto ratio, VGG-16", "pareto_vgg16", ".2f"),
    _figure("AlexNet style", "alex_style", ".2f"),
    _figure("LPIPS", "lpips", ".2f"),
    _figure("DAVIS warping error", "davis_warp", ".1f"),
    _figure("DAVIS Sobel", "davis_sobel", ".1f"),
    _figure("warping error, steadied", "davis_steady_warp", ".1f"),
    _figure("Sobel, steadied", "davis_steady_sobel", ".1f"),
    _figure("faces kept", "faces_kept", ".2f"),
]
_COST = [
    _figure("parameters", "parameters", ",.0f"),
    _figure("GMAC", "gmac", ".2f"),
    _figure("fps", "fps", ".0f"),
    _figure("updates", "updates", ",.0f"),
    _figure("s / 1000 updates", "seconds_per_1000_updates", ".0f"),
]
_COMPARED = (  # title, figure, format, factor
    ("noise gain", "noise_gain", ".2f", 1.0),
    ("warping error, synthetic,", "warping_error_synthetic", ".2f", 1000.0),
    ("warping error, clips,", "warping_error_clips", ".2f", 1000.0),
    ("style loss", "style_loss", ".3f", 1.0),
    ("content loss", "content_loss", ".3f", 1.0),
)
