"""The pages made of results: `python -m benchmarks results [FILE.json …]`.

`benchmarks/results/` holds one result of `rtstyle bench --json` a machine. A FILE given is checked,
freed of what could name somebody, and put there under its machine's key; with `--shown` that
machine is the one of `docs/benchmark.md`. Then three pages are written from what is there:
`README.md` of that folder with all machines, `docs/speed.md` with what the other benchmarks found,
and the tables between the marks in `docs/benchmark.md`. `--check` writes nothing and exits 1 when
a page is not what the results give.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.markdown import line, plain, table_lines
from benchmarks.options import parse
from benchmarks.page_tables import machine_in, with_gpus, with_table
from benchmarks.studies import page as speed_page
from benchmarks.studies import read_studies
from rtstyle.bench import Document, Measured, Missing, read_document
from rtstyle.bench.document import write_text
from rtstyle.bench.result import ABSENT, FAIL, PASS
from rtstyle.bench.table import number
from rtstyle.errors import MediaError, UsageError
from rtstyle.style.style import find_styles

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("benchmarks", "results")  # these three are seen from a root
SPEED = Path("docs", "speed.md")
SHOWN = Path("docs", "benchmark.md")
_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\]+[/\\])+([^\s'\"/\\]+)")


def submit(path: Path, folder: Path) -> Path:
    """Put a result into the folder; gives its place there. Raises `MediaError`, `OutputError`."""
    document = read_document(path)
    if not document.measured:
        raise MediaError(f"{path} has no figures; nothing was measured there.")
    shipped = {style.name for style in find_styles()}
    for row in document.measured:
        if row.case.style.rpartition(":")[2] not in shipped:
            raise MediaError(
                f"{path} has figures of the style {row.case.style!r:.60}; machines are compared by "
                "shipped styles, which rtstyle styles lists."
            )
    place = folder / f"{document.machine.key}.json"
    write_text(place, nameless(document).to_json(), overwrite=True)
    return place


def nameless(document: Document) -> Document:
    """The document without the folders that its reasons name: those may name their owner."""

    def reasons(texts: dict[str, str]) -> dict[str, str]:
        return {figure: _PATH.sub(r"\1", reason) for figure, reason in texts.items()}

    return replace(
        document,
        checks=tuple(replace(c, reason=_PATH.sub(r"\1", c.reason)) for c in document.checks),
        machine=replace(document.machine, reasons=reasons(document.machine.reasons)),
        measured=tuple(replace(r, unmeasured=reasons(r.unmeasured)) for r in document.measured),
        missing=tuple(
            Missing(_PATH.sub(r"\1", m.what), _PATH.sub(r"\1", m.reason)) for m in document.missing
        ),
    )


def page(documents: Sequence[Document]) -> str:
    """The page of all machines: a table for each level, a row for each machine and profile."""
    lines = [
        "# What machines give",
        "",
        "Frames a second. Written by `python -m benchmarks results`; do not edit it.",
    ]
    levels = dict.fromkeys(row.case.level for document in documents for row in document.measured)
    for level in levels:
        rows = [
            (document, row)
            for document in documents
            for row in document.measured
            if row.case.level == level
        ]
        sizes = sorted(
            {row.case.size for _, row in rows}, key=lambda size: [int(n) for n in size.split("x")]
        )
        lines += ["", f"## {level}", "", line(["machine", "profile", *sizes, "off by"])]
        lines.append(line(["---", "---", *(["--:"] * (len(sizes) + 1))]))
        groups: dict[tuple[str, str], dict[str, Measured]] = {}
        for document, row in rows:
            name = row.profile.partition(" / ")[2]
            groups.setdefault((str(document.machine), name), {})[row.case.size] = row
        for (machine, profile), found in groups.items():
            off = [row.parity_mean for row in found.values() if row.parity_mean is not None]
            speeds = [number(found[size].fps if size in found else None) for size in sizes]
            worst = number(max(off) if off else None, 2)
            lines.append(line([plain(machine), plain(profile), *speeds, worst]))
    lines += ["", "“Off by” is the mean difference from the reference engine in grey levels."]
    lines += _checked(documents)
    return "\n".join(lines) + "\n"


def _checked(documents: Sequence[Document]) -> list[str]:
    """What `rtstyle gpu-check` found: a row for each machine and engine."""
    cells = [
        (
            str(document.machine),
            engine,
            str(sum(row.status == PASS for row in rows)),
            *(
                "; ".join(f"{r.check}: {r.reason}" for r in rows if r.status == status)
                for status in (FAIL, ABSENT)
            ),
        )
        for document in documents
        for engine in dict.fromkeys(row.engine for row in document.checks)
        if (rows := [row for row in document.checks if row.engine == engine])
    ]
    if not cells:
        return []
    columns = ("machine", "engine", "passed", "failed", "absent")
    return ["", "## Checks of GPUs", "", *table_lines(columns, cells)]


def pages(root: Path) -> dict[Path, str]:
    """Every page that results give, with its text. Raises `MediaError`."""
    folder = root / FOLDER
    documents = {path.stem: read_document(path) for path in sorted(folder.glob("*.json"))}
    shown = (root / SHOWN).read_text(encoding="utf-8")
    key = machine_in(shown)
    if key is not None and key not in documents:
        raise MediaError(
            f"{SHOWN} shows the machine {key}, which is not in {folder}; submit it with --shown, "
            "or name another one."
        )
    return {
        folder / "README.md": page(list(documents.values())),
        root / SPEED: speed_page(read_studies(folder / "studies")),
        root / SHOWN: with_gpus(
            with_table(shown, key, documents[key] if key else None), list(documents.values())
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    files: Annotated[list[Path] | None, typer.Argument()] = None
    shown: Annotated[
        bool, typer.Option("--shown", help="FILE's machine is the one of docs/benchmark.md")
    ] = False
    check: Annotated[bool, typer.Option("--check")] = False
    root: Annotated[Path, typer.Option(help="the tree with the pages")] = ROOT


def main(argv: list[str]) -> int:
    """Take files in, write the pages."""
    options = parse(Options, argv, program="python -m benchmarks results", about=__doc__)
    root, files = options.root, options.files or []
    if options.shown and len(files) != 1:
        raise UsageError(f"{SHOWN} shows one machine: name one FILE with --shown.")
    if options.check and files:
        raise UsageError("--check only looks; leave the files out.")
    for file in files:
        place = submit(file, root / FOLDER)
        print(f"{file} is now {place}.")
        if options.shown:
            shown = (root / SHOWN).read_text(encoding="utf-8")
            text = with_table(shown, place.stem, read_document(place))
            write_text(root / SHOWN, text, overwrite=True)
    stale = {
        path: text
        for path, text in pages(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if options.check:
        for path in stale:
            print(f"{path} is not what the results give; run python -m benchmarks results.")
        return 1 if stale else 0
    for path, text in stale.items():
        write_text(path, text, overwrite=True)
        print(f"{path} is written.")
    print("All pages are what the results give.")
    return 0
