"""A ComfyUI node that paints images with a style that `rtstyle export-for comfyui` wrote.

Copy this file into ComfyUI/custom_nodes/ and the .onnx files into ComfyUI/models/rtstyle/. It needs
onnxruntime (or onnxruntime-gpu) and nothing of rtstyle.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import folder_paths  # ComfyUI's own
import numpy as np
import onnxruntime as ort
import torch

FOLDER = "rtstyle"
folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


@functools.lru_cache(maxsize=2)
def _session(path: str) -> ort.InferenceSession:
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = ort.get_available_providers()
    return ort.InferenceSession(path, providers=[name for name in wanted if name in available])


class PaintWithRtstyle:
    """IMAGE (B, H, W, 3) float in 0..1 to one of the same shape, mixed with it by strength."""

    CATEGORY = "image/stylize"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "paint"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "image": ("IMAGE",),
                "style": (folder_paths.get_filename_list(FOLDER),),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
            }
        }

    def paint(self, image: torch.Tensor, style: str, strength: float) -> tuple[torch.Tensor]:
        session = _session(folder_paths.get_full_path(FOLDER, style))
        frames = image[..., :3].movedim(-1, 1).cpu().float().numpy()
        painted = [session.run(["output"], {"input": frame[None]})[0] for frame in frames]
        result = torch.from_numpy(np.concatenate(painted)).movedim(1, -1)
        return (torch.lerp(image[..., :3].cpu().float(), result, strength),)


NODE_CLASS_MAPPINGS = {"PaintWithRtstyle": PaintWithRtstyle}
NODE_DISPLAY_NAME_MAPPINGS = {"PaintWithRtstyle": "Paint with rtstyle"}
