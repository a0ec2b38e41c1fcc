"""Asks pip-audit whether a pinned dependency has a known vulnerability; says so when nobody knows.

    python .ci/audit.py constraints.txt

Exit status 1 when there is one. Without an answer, offline or from an index that has no such data,
the status is 0 and the line printed is "not audited" with the reason: a version that is known to be
vulnerable must be found, or silence means nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CANARY = "aiohttp==3.9.1"  # CVE-2024-23334
SECONDS = 120


def main(constraints: Path) -> int:
    """Audit the pins of `constraints`."""
    try:
        with TemporaryDirectory() as folder:
            canary = Path(folder) / "canary.txt"
            canary.write_text(f"{CANARY}\n")
            if not _vulnerable(_audit(canary)):
                raise LookupError(f"the database does not know that {CANARY} is vulnerable")
            pins = Path(folder) / "pins.txt"
            pins.write_text("\n".join(_pins(constraints.read_text())) + "\n")
            dependencies = _audit(pins)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        print(f"Dependencies: not audited: {error}.")
        return 0
    for name, identifiers in (found := _vulnerable(dependencies)).items():
        print(f"Dependencies: {name} has {', '.join(identifiers)}.")
    unknown = [d["name"] for d in dependencies if "skip_reason" in d]
    without = f", of {len(unknown)} nothing is known: {', '.join(unknown)}" if unknown else ""
    print(f"Dependencies: {len(dependencies)} audited, {len(found)} vulnerable{without}.")
    return 1 if found else 0


def _pins(text: str) -> list[str]:
    """The lines name==version, without local versions such as +cpu."""
    lines = (line.partition("#")[0].partition(";")[0].strip() for line in text.splitlines())
    return [line.partition("+")[0] for line in lines if "==" in line]


def _audit(requirements: Path) -> list[dict[str, Any]]:
    """What pip-audit tells of each requirement. Raises when it tells nothing."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps",
        "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "15",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if not done.stdout.strip():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise LookupError(lines[-1].strip()[:200] if lines else "pip-audit says nothing")
    dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return dependencies


def _vulnerable(dependencies: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {
        f"{d['name']} {d['version']}": [v["id"] for v in d["vulns"]]
        for d in dependencies
        if d.get("vulns")
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
