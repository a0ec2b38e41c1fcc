"""Whether a run on a damaged input ended as it should, judged by what it printed and left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from benchmarks.reliability.corpus import Specimen, files_of
from benchmarks.reliability.sandbox import Ran

LONGEST_SENTENCE = 1200  # characters; a path may be in it twice
FAULTS = ("hang", "crash", "traceback", "words", "partial", "leftover", "lost")

Look = Callable[[Path, Specimen], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`outcome` is "painted" (all of it), "salvaged" (what was good, announced) or "refused";
    `faults` are those of `FAULTS` that it has, each with what was seen."""

    outcome: str
    faults: tuple[tuple[str, str], ...]


def judge(specimen: Specimen, ran: Ran, folder: Path, before: set[str], look: Look) -> Verdict:
    """Judge the run of `specimen` in `folder`, which held the files `before`."""
    faults: list[tuple[str, str]] = []
    if ran.timed_out:
        return Verdict(outcome="refused", faults=(("hang", f"{ran.seconds:.0f} s"),))
    if ran.signal:
        faults.append(("crash", ran.signal))
    elif "Traceback" in ran.stderr or "should not happen" in ran.stderr:
        faults.append(("traceback", ran.stderr[-300:]))
    elif wrong := _wrong_words(ran):
        faults.append(("words", wrong))
    salvaged = re.search(r"holds the (\d+) frames? that", ran.stderr)
    outcome = "painted" if ran.status == 0 else "salvaged" if salvaged else "refused"
    left = files_of(folder) - before
    if others := _unexpected(specimen, ran, left):
        faults.append(("leftover", ", ".join(sorted(others))))
    if specimen.output is not None and not specimen.output.is_dir():
        if outcome == "refused" and specimen.output.exists():
            faults.append(("partial", "the run failed and a file has the final name"))
        elif outcome != "refused":
            n = int(salvaged[1]) if salvaged else None
            faults += _compare(specimen, ran.stderr, n, look)
    return Verdict(outcome=outcome, faults=tuple(faults))


def _unexpected(specimen: Specimen, ran: Ran, left: set[str]) -> set[str]:
    """Files that should not be: neither the output, nor what a failed run keeps to go on with."""
    left = {name for name in left if not name.startswith("cache/")}
    if specimen.output is None:
        return left
    name = specimen.output.name
    painted = {n for n in left if n.startswith(f"{name}/") and ".part" not in n}
    state = {n for n in left if n.startswith(f".{name}.resume/")}
    is_worth_it = bool(painted or {Path(n).name for n in state} - {"lock", "state.json"})
    return left - {name} - painted - (state if ran.status and is_worth_it else set())


def _wrong_words(ran: Ran) -> str:
    """What is not one sentence, besides notes."""
    lines = ran.stderr.splitlines()
    said = [line for line in lines if not line.startswith(("note: ", "A model is left out: "))]
    if any(len(line) > LONGEST_SENTENCE for line in lines):
        return f"a line of {max(map(len, lines))} characters: {max(lines, key=len)[:100]}"
    if any(not c.isprintable() for line in lines for c in line):
        return f"characters that cannot be printed: {ran.stderr[:300]!r}"
    if ran.status == 0:
        return f"on success: {said[0][:300]}" if said else ""
    if ran.status not in (1, 2):
        return f"exit status {ran.status}: {ran.stderr[-300:]}"
    if len(said) != 1 or not said[0].startswith("rtstyle: "):
        return f"{len(said)} lines: {' / '.join(said)[:300]}"
    sentence = said[0].removeprefix("rtstyle: ")
    return (
        ""
        if re.search(r"\w{3}.*([.!)]|: --style \S+)$", sentence)
        else f"no sentence: {sentence[:200]}"
    )


def _compare(specimen: Specimen, notes: str, n: int | None, look: Look) -> list[tuple[str, str]]:
    """What the output lacks of the input; with `n`, of its first n frames."""
    assert specimen.output is not None
    if not specimen.output.exists():
        return [("partial", "no output, but none was missed")]
    output = look(specimen.output, specimen)
    if "error" not in output:
        return [("partial", f"whoever reads the output {output['ended']}")]
    if output["error"]:
        return [("partial", f"the output cannot be read: {output['error']}")]
    if "times" not in output:
        return []
    if (
        specimen.source is None
        or specimen.source.is_dir()
        or "times" not in (given := look(specimen.source, specimen))
    ):
        return []
    got, times = _fractions(output["times"]), _fractions(given["times"])
    wanted = times if n is None else times[:n]
    faults = []
    if len(got) != len(wanted) or (n is not None and len(got) != n):
        faults.append(("lost", f"{len(got)} frames of {n or len(wanted)}"))
    elif got != wanted and not re.search("frame times were rounded|has no times", notes):
        at = next(i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b)
        faults.append(("lost", f"frame {at} is at {got[at]} instead of {wanted[at]}"))
    if n is None and given["error"]:
        faults.append(("lost", f"painted without a word, but: {given['error']}"))
    if (
        n is None
        and not specimen.start
        and len(got) < given["plain"]
        and "gave no picture" not in notes
    ):
        faults.append(("lost", f"{len(got)} frames of {given['plain']} that FFmpeg decodes"))
    if not specimen.start:
        faults += _compare_sounds(
            given["sounds"], output["sounds"], specimen, notes, whole=n is None
        )
    return faults


def _compare_sounds(
    given: list[dict[str, Any]],
    output: list[dict[str, Any]],
    specimen: Specimen,
    notes: str,
    *,
    whole: bool,
) -> list[tuple[str, str]]:
    assert specimen.output is not None
    if re.search(r"audio stream \d+ .*(re-encoded|left out)|sound packets .* left out", notes):
        return []
    ends_early = not whole or "sound and subtitles end" in notes
    if len(given) != len(output) and not ends_early:
        return [("lost", f"{len(output)} of {len(given)} sounds")]
    faults = []
    for before, after in zip(given, output, strict=False):
        kept = [payload for _, payload in after["packets"]]
        # Matroska cannot hold what is before the beginning, unless it comes from Matroska.
        wanted = [
            [payload for t, payload in before["packets"] if t is None or Fraction(t) >= earliest]
            for earliest in (-(10**12), 0)
        ]
        if ends_early and not _rises(before):  # its clock starts over: which of them end early?
            continue
        if not any(kept == (packets[: len(kept)] if ends_early else packets) for packets in wanted):
            count = len(before["packets"])
            faults.append(("lost", f"sound: {len(kept)} packets of {count}, or others"))
        elif specimen.output.suffix in (".mp4", ".mov") and (moved := _moved(before, after)):
            faults.append(("lost", f"sound: {len(moved)} packets moved, one to {moved[0]}"))
    return faults


def _rises(sound: dict[str, Any]) -> bool:
    times = [Fraction(t) for t, _ in sound["packets"] if t is not None]
    return times == sorted(times)


def _moved(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Times in `after` that none of `before` is rounded to."""
    tick = Fraction(after["tick"])
    times = {round(Fraction(t) / tick) for t, _ in before["packets"] if t is not None}
    near = {t + off for t in times for off in (-1, 0, 1)} if _is_finer(before, tick) else times
    moved = [
        t for t, _ in after["packets"] if t is not None and round(Fraction(t) / tick) not in near
    ]
    untimed = sum(t is None for t, _ in before["packets"])
    return moved if len(moved) > untimed else []


def _is_finer(before: dict[str, Any], tick: Fraction) -> bool:
    """Whether the input has times that a clock of `tick` cannot tell."""
    return any(
        t is not None and (Fraction(t) / tick).denominator != 1 for t, _ in before["packets"]
    )


def _fractions(texts: list[str]) -> list[Fraction]:
    return [Fraction(text) for text in texts]


def looked(ran: Ran) -> dict[str, Any]:
    """The answer of `look`, or how it ended instead."""
    if ran.status == 0 and not ran.timed_out:
        got: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return got
    return {"ended": "hangs" if ran.timed_out else f"ends with {ran.signal or ran.stderr[-200:]}"}
