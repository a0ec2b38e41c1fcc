"""`python -m benchmarks NAME …` runs one benchmark; without a name it lists them."""

from __future__ import annotations

import sys
from importlib import import_module

from rtstyle.errors import RtstyleError, UsageError

BENCHMARKS = {
    "end-to-end": "benchmarks.end_to_end",  # fps and memory of decode → paint → encode
    "gpu": "benchmarks.gpu.command",  # fps, roofline share and overlap on an NVIDIA card
    "quality": "benchmarks.quality.command",  # how good the paintings are
    "fidelity": "benchmarks.fidelity",  # whether frames, times and sound survive
    "reliability": "benchmarks.reliability.command",  # whether anything is lost, whatever happens
    "live": "benchmarks.live",  # frame rate, latency, memory and style switches of live painting
    "compare": "benchmarks.compare",  # whether B is slower than A, by interleaved pairs
    "rigged": "benchmarks.rigged",  # whether the true bottleneck is named
    "history": "benchmarks.history",  # the tracked cases over time, on this machine
    "results": "benchmarks.catalogue",  # the pages of what was measured
    "peers": "benchmarks.peers",  # one net by every runtime, side by side
    "roofline": "benchmarks.roofline",  # which share of this machine's peak a model reaches
    "scaling": "benchmarks.scaling",  # speed and memory over pixels, batch, threads, length
}


def main() -> int:
    """Run the benchmark that the first argument names."""
    name, *argv = sys.argv[1:] or ["--help"]
    if name not in BENCHMARKS:
        print(f"usage: python -m benchmarks {'|'.join(BENCHMARKS)} …", file=sys.stderr)
        return 2
    try:
        return import_module(BENCHMARKS[name]).main(argv) or 0
    except KeyboardInterrupt:
        print("benchmarks: Interrupted.", file=sys.stderr)
        return 130
    except RtstyleError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
