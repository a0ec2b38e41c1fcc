"""Writes `extras.json`: what an index resolves each extra to, for `test_extras.py` to check.

    python -m tests.resolve_extras

Needs `uv` and the package index, and fetches metadata only. TensorRT's libraries are a package that
fetches them from NVIDIA's own index while its metadata are made; that is left out here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.test_extras import EXTRAS, RESOLVED, ROOT, WRITTEN, requirements

SETTINGS = ["--python-version", "3.12", "--no-header", "--no-annotate", "--quiet"]
_STUB = '[[dependency-metadata]]\nname = "tensorrt-cu13-libs"\nrequires-dist = []\n'


def platform(extras: str) -> str:
    """The platform that the extras are for, in uv's words."""
    return "x86_64-pc-windows-msvc" if extras == "directml" else "x86_64-manylinux_2_28"


def resolve(extras: str, config: Path) -> dict[str, str]:
    """Every package with its version. Ends the program where there is no such set."""
    chosen = [word for extra in extras.split(",") for word in ("--extra", extra)]
    command = [
        "uv", "pip", "compile", *SETTINGS, "--config-file", str(config),
        "--python-platform", platform(extras), *chosen, str(ROOT / "pyproject.toml"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{extras} cannot be resolved: {done.stderr}")
    return dict(line.split(" ")[0].split("==") for line in done.stdout.splitlines())


def main() -> None:
    """Resolve all, write the file."""
    with TemporaryDirectory() as folder:
        config = Path(folder) / "uv.toml"
        config.write_text(_STUB, encoding="utf-8")
        found = {
            extras: {
                "requires": sorted({str(requirement) for requirement in requirements(extras)}),
                "packages": resolve(extras, config),
            }
            for extras in sorted({*EXTRAS, *WRITTEN})
        }
    made = datetime.now(UTC).date().isoformat()
    document = {"made": made, "by": f"uv pip compile {' '.join(SETTINGS)}", "extras": found}
    RESOLVED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
