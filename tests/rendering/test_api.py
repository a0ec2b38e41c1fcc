"""`rtstyle.render` is the function, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import pkgutil, rtstyle, rtstyle.cli, rtstyle.rendering
from importlib import import_module
for package in (rtstyle, rtstyle.rendering, rtstyle.cli):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
from rtstyle.rendering.api import render
assert rtstyle.render is render, rtstyle.render
for name in rtstyle.__all__:
    assert type(getattr(rtstyle, name)) is not type(rtstyle), name
"""


def test_no_public_name_is_hidden_by_a_module() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
