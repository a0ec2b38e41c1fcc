"""`rtstyle import`: from other projects' files to a model file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from rtstyle.bench.parity import Limits, measure_runtimes, require_parity
from rtstyle.errors import OutputError, UsageError
from rtstyle.files import atomic_write, check_output
from rtstyle.importers import recognise
from rtstyle.importers.plain_onnx import wrap
from rtstyle.model.file import UNKNOWN_STRIDE, read_model
from rtstyle.model.spec import ModelSpec, parse_metadata
from rtstyle.train.to_onnx import ModelCard, write_model

_ORIGINAL = Limits(mean=0.5, p999=3.0, flat_color=0.0)  # from what the original graph paints

_log = logging.getLogger("rtstyle")


def import_files(
    files: Sequence[Path],
    output: Path,
    card: ModelCard,
    *,
    values: str | None = None,
    domain: int | None = None,
    overwrite: bool = False,
) -> ModelSpec:
    """Write the net in `files` to `output`, whole or not at all; returns what it says of itself.

    `values` is the range of an ONNX file's pixels, `domain` one of those of StarGAN v2. Raises
    `ModelError` that tells what was seen when the files are not known, damaged or do not paint the
    same in every runtime.
    """
    if output.suffix != ".onnx":
        raise UsageError(f"A model file ends in .onnx, unlike {output.name}.")
    if output.resolve() in {file.resolve() for file in files}:
        raise UsageError(f"The output {output} is one of the inputs; name another file.")
    check_output(output, overwrite=overwrite, parents=True)
    provenance = {"imported": [file.name for file in files]} | card.provenance
    if any(file.suffix == ".onnx" for file in files):
        if len(files) > 1:
            raise UsageError("An ONNX file is imported alone.")
        if domain is not None:
            raise UsageError("--domain is for StarGAN v2's checkpoints; an ONNX file has none.")
        return _import_onnx(files[0], output, replace(card, provenance=provenance), values)
    if values:
        raise UsageError("--range is for ONNX files; checkpoints of known projects tell theirs.")
    _log.info("Reading %s …", ", ".join(file.name for file in files))
    _, found = recognise(files)
    if domain is not None:
        _choose_domain(found.net, domain)
    found.net.grain = False  # type: ignore[assignment]  # it never saw any
    styles = () if hasattr(found.net, "encode") else card.styles
    provenance["origin"] = found.origin
    return write_model(
        found.net,
        output,
        replace(card, styles=styles, provenance=provenance),
        architecture=found.architecture,
        check=require_parity,
    )


def _choose_domain(net: nn.Module, domain: int) -> None:
    domains = getattr(net, "domains", 0)
    if not domains:
        raise UsageError("--domain is for StarGAN v2; this net has none.")
    if not 0 <= domain < domains:
        raise UsageError(f"The style encoder has the domains 0 to {domains - 1}, not {domain}.")
    net.domain = domain  # type: ignore[assignment]


def _import_onnx(file: Path, output: Path, card: ModelCard, values: str | None) -> ModelSpec:
    spec = ModelSpec(
        output, "imported", UNKNOWN_STRIDE, card.styles, description=card.description,
        licence=card.licence, provenance=card.provenance, grain=False,
    )  # fmt: skip
    parse_metadata(output, spec.metadata())
    _log.info("Reading %s …", file.name)
    model, samples = wrap(file, values, spec)
    try:
        with atomic_write(output, parents=True) as part:
            part.write_bytes(model.SerializeToString())
            _log.info("Comparing with the original, in each runtime …")
            for name, found in measure_runtimes(read_model(part), samples).items():
                _ORIGINAL.require(found, f"{name} does not paint as {file.name} does:")
    except OSError as error:
        raise OutputError(f"The model {output} cannot be written ({error}).") from error
    return read_model(output)
