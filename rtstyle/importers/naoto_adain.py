"""AdaIN of naoto0804/pytorch-AdaIN: `decoder.pth` together with `vgg_normalised.pth`.

It is this project's AdaIN, but for unbiased statistics and larger style images.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtstyle.errors import ModelError
from rtstyle.importers.base import Imported, load_weights
from rtstyle.importers.files import CheckpointFile
from rtstyle.nets.adain import AdaIN

# Places of the convolutions in their `nn.Sequential`, and what they are here.
_ENCODER = {
    "0": "preprocess", "2": "stages.0.0", "5": "stages.0.1", "9": "stages.1.0",
    "12": "stages.1.1", "16": "stages.2.0", "19": "stages.2.1", "22": "stages.2.2",
    "25": "stages.2.3", "29": "stages.3.0",
}  # fmt: skip
_DECODER = {
    "1": "deep", "5": "third.0", "8": "third.1", "11": "third.2", "14": "third.3",
    "18": "second.0", "21": "second.1", "25": "first", "28": "out",
}  # fmt: skip


def recognise(files: Sequence[CheckpointFile]) -> Imported | None:
    """The net in the two files, in any order. Raises `ModelError` when one is missing."""
    encoder = next((file for file in files if _has(file, _ENCODER, 3)), None)
    decoder = next((file for file in files if _has(file, _DECODER, None)), None)
    if encoder is None and decoder is None:
        return None
    if encoder is None or decoder is None:
        there, missing = (
            (encoder, "decoder.pth") if decoder is None else (decoder, "vgg_normalised.pth")
        )
        assert there is not None
        raise ModelError(
            f"{there.path.name} is one half of AdaIN; name {missing} beside it in the command."
        )
    channels = [int(encoder.tensors[f"{i}.weight"].shape[0]) for i in ("2", "9", "16", "29")]
    net = AdaIN(channels=channels, correction=1)
    net.image_size = 512
    weights = {}
    for file, places, prefix in ((encoder, _ENCODER, "encoder."), (decoder, _DECODER, "")):
        for theirs, ours in places.items():
            for part in ("weight", "bias"):
                weights[f"{prefix}{ours}.{part}"] = file.tensors[f"{theirs}.{part}"]
    load_weights(net, weights, of=f"{encoder.path.name} and {decoder.path.name}")
    return Imported(net, "adain", "naoto0804/pytorch-AdaIN")


def _has(file: CheckpointFile, places: dict[str, str], c_in: int | None) -> bool:
    if file.kind not in ("torch", "safetensors"):
        return False
    names = {f"{place}.{part}" for place in places for part in ("weight", "bias")}
    if not names <= set(file.tensors):
        return False
    first = file.tensors[f"{min(places, key=int)}.weight"]
    return first.ndim == 4 and (first.shape[1] == c_in) == (c_in is not None)
