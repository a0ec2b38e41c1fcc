"""Other projects' checkpoints as rtstyle's model files, one project a file.

An importer is a function `recognise(files)` that looks at names and shapes and gives the net, or
None when the files are not its project's. Adding one is a file and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported
from rtstyle.importers.files import CheckpointFile, read_file

IMPORTERS = {
    "pytorch-examples": "rtstyle.importers.pytorch_examples",
    "adain": "rtstyle.importers.naoto_adain",
    "fast-neural-style": "rtstyle.importers.jcjohnson",
    "fast-style-transfer": "rtstyle.importers.lengstrom",
    "magenta": "rtstyle.importers.magenta",
    "microast": "rtstyle.importers.micro_ast",
    "cyclegan": "rtstyle.importers.cyclegan",
    "cartoongan": "rtstyle.importers.cartoongan",
    "white-box-cartoon": "rtstyle.importers.white_box_cartoon",
    "stargan2": "rtstyle.importers.stargan2",
}


def recognise(paths: Sequence[Path]) -> tuple[str, Imported]:
    """The name of the importer that knows the files, and the net in them.

    Raises `ModelError` that tells what was seen when none does, `InputNotFoundError`.
    """
    files = [read_file(path) for path in paths]
    for name, module in IMPORTERS.items():
        look: Callable[[Sequence[CheckpointFile]], Imported | None]
        look = import_module(module).recognise
        try:
            found = look(files)
        except (LookupError, ValueError, AttributeError) as error:
            raise ModelError(
                f"The files look like those of {name}, but are not whole ({error}). "
                + "; ".join(file.summary() for file in files)
            ) from None
        if found is not None:
            return name, found
    raise ModelError(
        "The architecture was not recognised. "
        + "; ".join(file.summary() for file in files)
        + f". Known are {', '.join(IMPORTERS)}, and ONNX files that map pictures to pictures."
    )
