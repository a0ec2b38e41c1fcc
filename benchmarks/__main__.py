"""Runs one benchmark: `python -m benchmarks NAME …`; without a name, lists them."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from benchmarks.options import SETTINGS
from rtstyle.errors import RtstyleError, UsageError

BENCHMARKS = {
    "end-to-end": ("benchmarks.end_to_end", "Frame rate and memory of decode → stylize → encode."),
    "quality": ("benchmarks.quality.command", "How good the stylized frames are."),
    "students": ("benchmarks.students", "How near nets are to the teachers that they imitate."),
    "unpaired": ("benchmarks.unpaired", "How near nets bring photographs to a collection."),
    "masks": ("benchmarks.masks", "How near the masks of people are to their teacher's."),
    "fidelity": ("benchmarks.fidelity", "Whether frames, times and sound survive."),
    "reliability": ("benchmarks.reliability.command", "Whether anything is lost under faults."),
    "live": ("benchmarks.live", "Frame rate, latency, memory and style switches of `live`."),
    "compare": ("benchmarks.compare", "Whether B is slower than A, by interleaved pairs."),
    "rigged": ("benchmarks.rigged", "Whether the report names the true bottleneck."),
    "history": ("benchmarks.history", "The tracked cases over time, on this machine."),
    "results": ("benchmarks.catalogue", "The pages made of the results."),
    "peers": ("benchmarks.peers", "One net by every runtime, side by side."),
    "first-minutes": ("benchmarks.first_minutes", "The README and the wheel, step by step, timed."),
    "hosts": ("benchmarks.hosts", "One style inside other programs, beside rtstyle."),
    "roofline": ("benchmarks.roofline", "Which share of this machine's peak a model reaches."),
    "gpu-kernels": ("benchmarks.gpu_kernels", "The fused kernels and nets on an NVIDIA GPU."),
    "gpu-bounds": ("benchmarks.gpu_bounds", "The most that GPUs could reach, by counting."),
    "scaling": ("benchmarks.scaling", "Speed and memory over pixels, batch, threads, length."),
}

app = typer.Typer(help=__doc__, no_args_is_help=True, **SETTINGS)


def _add(name: str, module: str, about: str) -> None:
    """Each benchmark reads its own options, with libraries that the others do not need."""
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}

    @app.command(name, help=about, add_help_option=False, context_settings=settings)
    def run(context: typer.Context) -> int:
        status: int | None = import_module(module).main(context.args)
        return status or 0


for _name, (_module, _about) in BENCHMARKS.items():
    _add(_name, _module, _about)


def main() -> int:
    """Run the benchmark that the first argument names; an error is one sentence and a status."""
    try:
        return app(prog_name="python -m benchmarks", standalone_mode=False) or 0
    except KeyboardInterrupt:
        print("benchmarks: Interrupted.", file=sys.stderr)
        return 130
    except RtstyleError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except ImportError as error:  # of a tool that only development needs
        print(
            f"benchmarks: this one needs more than rtstyle ({error}); run it in a copy of the "
            "repository after `pip install -e '.[train,live,test]'`.",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        if not (show := getattr(error, "show", None)):
            raise
        show()
        return getattr(error, "exit_code", 2)


if __name__ == "__main__":
    sys.exit(main())
