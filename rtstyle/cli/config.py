"""Defaults of any option from `rtstyle.toml`, and `rtstyle config`, which shows them.

A table is a command, a key one of its options without the dashes; keys above the first table are
for every command that has such an option:

    engine = "openvino"

    [render]
    style = "udnie"
    crf = 18

The file in the working folder outranks the user's own, `RTSTYLE_RENDER_STYLE=udnie` in the
environment outranks both, and an option on the command line outranks all.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import platformdirs
import typer

from rtstyle.errors import UsageError

if TYPE_CHECKING:
    from click import Command, Group

NAME = "rtstyle.toml"
ENVIRONMENT = "RTSTYLE"


@dataclass(frozen=True, slots=True)
class Default:
    """The default of one option of one command, and the file and line that say so."""

    command: str
    parameter: str
    option: str
    value: Any
    origin: str


def config(context: typer.Context) -> None:
    """Show the defaults that rtstyle.toml and the environment set."""
    commands = cast("Group", context.find_root().command)
    for path in config_files():
        typer.echo(f"{path}{'' if path.exists() else ' (not there)'}")
    shown = {(d.command, d.option): f"{d.value}  ({d.origin})" for d in read_defaults(commands)}
    for name, command in commands.commands.items():
        for option, parameter in _options(command).items():
            named = variable(name, parameter)
            if value := os.environ.get(named):
                shown[name, option] = f"{value}  ({named})"
    for (name, option), text in sorted(shown.items()):
        typer.echo(f"{name} --{option} {text}")


def config_files() -> list[Path]:
    """Where defaults may stand, the most general first, whether or not there is a file."""
    user = platformdirs.user_config_path("rtstyle", appauthor=False) / NAME
    return list(dict.fromkeys((user, Path.cwd() / NAME)))


def read_defaults(group: Group) -> list[Default]:
    """What the files say; of two that name the same option the last one counts.

    Raises `UsageError`, with the line, for a file that is no TOML and for an unknown key.
    """
    found: dict[tuple[str, str], Default] = {}
    for path in config_files():
        for default in _read(path, group):
            found[default.command, default.parameter] = default
    return list(found.values())


def default_map(defaults: list[Default]) -> dict[str, dict[str, Any]]:
    """The same in the form that click takes: parameters by command."""
    result: dict[str, dict[str, Any]] = {}
    for default in defaults:
        result.setdefault(default.command, {})[default.parameter] = default.value
    return result


def origin_of(defaults: list[Default], error: Exception) -> str | None:
    """The line of a file that gave the value which the command line complains about, if one did."""
    parameter = getattr(getattr(error, "param", None), "name", None)
    return next((d.origin for d in defaults if d.parameter == parameter), None)


def variable(command: str, parameter: str) -> str:
    """The environment variable that sets the option."""
    return f"{ENVIRONMENT}_{command}_{parameter}".replace("-", "_").upper()


def _read(path: Path, group: Group) -> Iterator[Default]:
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # both kinds of broken text are ValueErrors
        raise UsageError(f"{path} cannot be read: {error}.") from None
    everywhere = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    for key in everywhere:
        if not any(key in _options(command) for command in group.commands.values()):
            known = {key for command in group.commands.values() for key in _options(command)}
            raise _unknown(path, text, key, known, "no command has such an option")
    for name in tables.keys() - everywhere.keys():
        if name not in group.commands:
            raise _unknown(path, text, name, group.commands, "there is no such command")
    for name, command in group.commands.items():
        options = _options(command)
        own = tables.get(name, {})
        for key in own:
            if key not in options:
                raise _unknown(path, text, key, options, f"rtstyle {name} has no such option", name)
        for key, value in (everywhere | own).items():
            if key in options:
                line = _line(text, key, name if key in own else None)
                yield Default(name, options[key], key, value, f"{path}, line {line}")


def _options(command: Command) -> dict[str, str]:
    """The parameters of a command by the names that its options have without the dashes."""
    return {
        option.removeprefix("--"): parameter.name or ""
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }


def _unknown(
    path: Path,
    text: str,
    key: str,
    known: Mapping[str, Any] | set[str],
    why: str,
    table: str | None = None,
) -> UsageError:
    near = get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return UsageError(f"{path}, line {_line(text, key, table)}: {key!r} is unknown, as {why}{hint}")


def _line(text: str, key: str, table: str | None) -> int:
    """The number of the line where `key` stands, in `table` or above the first one."""
    lines = text.splitlines()
    first = 0
    if table is not None:
        first = next((n for n, line in enumerate(lines) if line.strip() == f"[{table}]"), 0)
    is_key = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(key)}\b")
    return 1 + next((n for n, line in enumerate(lines) if n >= first and is_key.match(line)), first)
