"""A process that measures one case: `python -m rtstyle.bench.worker CASE_JSON RESULT_FILE`.

A process each, so that peak memory is the case's own, nothing is warm from the case before, and
a driver that crashes or a system that runs out of memory takes one case with it, not the run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtstyle.bench.case import Case
from rtstyle.errors import RtstyleError


def main(case_json: str, result_file: str) -> None:
    """Write what was measured, or why nothing was, as JSON to `result_file`."""
    from rtstyle.bench.measuring import OpeningError, measure

    told: dict[str, Any]
    try:
        told = {"measured": asdict(measure(Case(**json.loads(case_json))))}
    except OpeningError as error:
        told = {"problem": str(error), "opening": True}
    except RtstyleError as error:
        told = {"problem": str(error)}
    except MemoryError:
        told = {"problem": "The memory of this machine does not suffice."}
    Path(result_file).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
