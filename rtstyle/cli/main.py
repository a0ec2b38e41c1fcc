"""The command line: options in, one library call, one line out. Heavy imports inside commands."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import threading
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer
from typer import Option

from rtstyle import __version__
from rtstyle.cli.bench import bench
from rtstyle.cli.config import ENVIRONMENT, Default, config, default_map, origin_of, read_defaults
from rtstyle.cli.doctor import doctor, installed_versions
from rtstyle.cli.export import app as export_app
from rtstyle.cli.export import import_model
from rtstyle.cli.gpu_check import gpu_check
from rtstyle.cli.hosts import export_for
from rtstyle.cli.live import devices, live, serve
from rtstyle.cli.options import Overwrite, with_groups
from rtstyle.cli.paint import paint
from rtstyle.cli.queue import app as queue
from rtstyle.cli.regions import regions
from rtstyle.cli.render import demo, render
from rtstyle.cli.scenes import AtCommand
from rtstyle.cli.terminal import own_stderr, plain, table
from rtstyle.cli.train import train
from rtstyle.cli.web import web
from rtstyle.errors import RtstyleError, UsageError

if TYPE_CHECKING:
    from click import Group

USAGE, FAILURE, INTERRUPTED = 2, 1, 130
LEFT_BEHIND = ("rtstyle-reader", "rtstyle-engine", "rtstyle-hanging")  # threads, where one hangs

app = typer.Typer(
    name="rtstyle",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turns a video into a painting while you watch.",
    epilog="Try it without a file of your own:  [bold]rtstyle demo[/bold]",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        python = f"Python {platform.python_version()}, {sys.platform} {platform.machine()}"
        typer.echo(f"rtstyle {__version__} ({python}; {', '.join(installed_versions())})")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the versions."),
    ] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s")


app.command(cls=AtCommand)(with_groups(render))
app.command()(with_groups(demo))


@app.command()
def styles(
    preview: Annotated[
        Path | None, Option(help="Also write a picture of every style as PNG.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="All that is known of them, as JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """List the styles, each with a sentence: whole in a pipe, to the width of a terminal."""
    from rtstyle.model.zoo import find_models
    from rtstyle.style.style import find_styles, name_key, styles_of

    models = find_models()
    found: dict[str, str] = {}  # the model that a plain name means
    rows = []
    for style in sorted(
        (style for model in models for style in styles_of(model)),
        key=lambda style: name_key(style.name),
    ):
        stem = style.model.path.stem
        is_first = found.setdefault(name_key(style.name), stem) == stem
        rows.append({
            "style": style.name if is_first else f"{stem}:{style.name}",
            "model": stem, "net": style.model.architecture, "description": style.description,
            "path": str(style.model.path), "licence": style.model.licence,
            "mixes": style.vector is not None,
        })  # fmt: skip
    arbitrary = [model.path.stem for model in models if model.style_input == "statistics"]
    if as_json:
        typer.echo(json.dumps({"styles": rows, "any_picture": arbitrary}, ensure_ascii=False))
    else:
        shown = ("style", "model", "net", "description")
        for line in table([[str(row[column]) for column in shown] for row in rows]):
            typer.echo(line)
        if arbitrary:
            typer.echo(
                f"Any picture is a style too, painted by {arbitrary[0]}: --style my_painting.jpg"
            )
    if preview:
        from rtstyle.cli.gallery import write_gallery

        write_gallery(find_styles(), preview, overwrite=overwrite)
        typer.echo(f"The preview is {preview}.", err=as_json)


@app.command()
def engines() -> None:
    """List the engines and which of them work here."""
    from rich.console import Console
    from rich.table import Table

    from rtstyle.engines import automatic, available_engines

    order = automatic()
    table = Table("engine", "version", "precision", "state", box=None, pad_edge=False)
    for info in available_engines():
        place = (
            f"works, auto tries it as number {order.index(info.name) + 1}"
            if info.name in order
            else "works"
        )
        precision = "" if info.problem else info.precision
        table.add_row(f"[bold]{info.name}[/bold]", info.version, precision, info.problem or place)
    Console().print(table)


commands = (
    live, serve, devices, bench, gpu_check, train, paint, regions, export_for, config, doctor
)  # fmt: skip
for command in commands:
    app.command()(with_groups(command))
app.command("import")(import_model)
app.add_typer(export_app, name="export")
app.add_typer(web, name="web")
app.add_typer(queue, name="queue")


def parse_render(arguments: list[str]) -> None:
    """Raise what `rtstyle render` says of these arguments before it does anything."""
    group = cast("Group", typer.main.get_command(app))
    group.commands["render"].make_context("rtstyle render", list(arguments))


def main() -> None:
    """Entry point: errors become one sentence on stderr and an exit status."""
    with nullcontext() if "--debug" in sys.argv else own_stderr():
        try:
            _interruptible()
        except SystemExit as ended:
            if any(thread.name in LEFT_BEHIND for thread in threading.enumerate()):
                # What an engine or a driver does not come back from would keep the process, too.
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(ended.code if isinstance(ended.code, int) else FAILURE)
            raise


def _interruptible() -> NoReturn:
    try:
        _main()
    except KeyboardInterrupt:  # before typer listens, or after
        _fail("Interrupted.", INTERRUPTED)


def _main() -> NoReturn:
    command, defaults = cast("Group", typer.main.get_command(app)), list[Default]()
    try:
        defaults = read_defaults(command)
        status = command(  # of an early exit; typer makes 130 of Ctrl-C
            standalone_mode=False,
            default_map=default_map(defaults),
            auto_envvar_prefix=ENVIRONMENT,
        )
    except RtstyleError as error:
        _fail(str(error), USAGE if isinstance(error, UsageError) else FAILURE)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    except MemoryError:
        _fail(
            "There is too little memory for this; paint at a smaller --height, or close other "
            "programs.",
            FAILURE,
        )
    except ImportError as error:  # of a library that rtstyle itself requires
        _fail(_broken(error), FAILURE)
    except Exception as error:
        if (show := getattr(error, "show", None)) is not None:
            show()  # wrong options: typer's own error, which shows the usage
            if origin := origin_of(defaults, error):
                print(f"rtstyle: That option is set in {origin}.", file=sys.stderr)
            sys.exit(getattr(error, "exit_code", USAGE))
        _fail(
            f"Something that should not happen did: {type(error).__name__}: {error}. Run it again "
            "as `rtstyle --debug …` and report what that prints.",
            FAILURE,
        )
    if status == INTERRUPTED:
        _fail("Interrupted.", INTERRUPTED)
    sys.exit(status or 0)


def _broken(error: ImportError) -> str:
    """What to do about a library that is there and cannot be loaded, or is missing."""
    if "cv2" in f"{error.name} {error.path}" or "libGL" in str(error):
        # opencv-python, which asks for libGL, lies over what opencv-python-headless installed
        mend = (
            "pip uninstall opencv-python opencv-contrib-python, then pip install "
            "--force-reinstall opencv-python-headless"
        )
        return f"OpenCV cannot be loaded ({error}): {mend}."
    return f"The installation is not whole ({error}): pip install --force-reinstall rtstyle."


def _fail(sentence: str, status: int) -> NoReturn:
    """Say it on stderr and leave; with --debug, the traceback before it."""
    if "--debug" in sys.argv and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"rtstyle: {plain(sentence)}", file=sys.stderr)
    sys.exit(status)
