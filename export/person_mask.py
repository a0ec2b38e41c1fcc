"""Trains the masks of people and faces: a small U-Net, taught by MediaPipe's selfie segmentation.

    python -m export.person_mask --data DIR --minutes 300 -o person.onnx

The teacher labels every picture as it is drawn: crops of openly licensed photographs and clips, and
people of one in front of another. The student then sees it dimmed, noisy and blurred, as a webcam
would have it. Faces are ellipses in the boxes of `faces.csv`. `HELD_OUT`, and photographs of tier
B, are never trained on.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import swa_utils

from rtstyle.media.images import read_picture

HEIGHT, WIDTH = 144, 256
HELD_OUT = ("intel_asl_brother.mkv", "sam2_juggle.mp4", "moviepy_chaplin.mp4")
_LEFT_OUT = ("hdr", "hlg", "rot")  # in names of clips whose frames are stored otherwise than seen
_PEOPLE = 0.03  # share of a picture from where on there is a person in it
_FRAMES = 40  # of a clip
_AT_HALF_SIZE = 0.5  # share of the training, at a quarter of the cost

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Mask = NDArray[np.float32]  # (H, W), 0 to 1


class _Block(nn.Module):
    """Inverted bottleneck (Sandler et al. 2018) with a 5×5 depthwise convolution."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        inner = width * expansion
        self.body = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 5, padding=2, groups=inner, bias=False),
            nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.relu(x + self.body(x))
        return out


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class PersonNet(nn.Module):
    """(N, 3, 144, 256) float RGB in [0, 1] → logits of person and face (N, 2, 144, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.down2 = _conv(3, 16, 2)
        self.down4 = nn.Sequential(_conv(16, 32, 2), _Block(32))
        self.down8 = nn.Sequential(_conv(32, 56, 2), _Block(56), _Block(56))
        self.down16 = nn.Sequential(_conv(56, 80, 2), *(_Block(80) for _ in range(4)))
        self.context = nn.Conv2d(80, 80, 1)
        self.to8, self.to4, self.to2 = (
            nn.Conv2d(80, 56, 1),
            nn.Conv2d(56, 32, 1),
            nn.Conv2d(32, 16, 1),
        )
        self.up8, self.up4, self.up2 = _Block(56), _Block(32), _conv(16, 16)
        self.up1 = _conv(16, 8)
        self.out = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        at2 = self.down2(x - 0.5)
        at4 = self.down4(at2)
        at8 = self.down8(at4)
        deep = self.down16(at8)
        deep = deep * torch.sigmoid(self.context(deep.mean((2, 3), keepdim=True)))
        x = self.up8(at8 + _up(self.to8(deep)))
        x = self.up4(at4 + _up(self.to4(x)))
        x = self.up2(at2 + _up(self.to2(x)))
        out: Tensor = self.out(self.up1(_up(x)))
        return out


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class _Model(nn.Module):
    """As it is shipped: `frame` uint8 (1, 144, 256, 3) → `masks` float32 (1, 2, 144, 256)."""

    def __init__(self, net: PersonNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: Tensor) -> Tensor:
        x = frame.permute(0, 3, 1, 2).float() / 255
        return torch.sigmoid(self.net(x))


class Teacher:
    """MediaPipe's selfie segmentation, (144, 256, 3) RGB → mask."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name

    def __call__(self, picture: Picture) -> Mask:
        """The mask of one picture of its size."""
        given = {self._name: picture[None].astype(np.float32) / 255}
        segments = np.asarray(self._session.run(None, given)[0], np.float32)[0]
        if segments.shape[-1] == 1:
            return np.asarray(segments[..., 0], np.float32)
        return np.asarray(1 / (1 + np.exp(segments[..., 0] - segments[..., 1])), np.float32)


def small(picture: Picture) -> Picture:
    """The whole picture at the size of the nets."""
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def frames_of(path: Path, n_frames: int | None = None) -> Iterator[Picture]:
    """Frames of a clip, all or so many evenly spread, at a height of 240."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        total = stream.frames or 300
        every = 1 if n_frames is None else max(1, total // n_frames)
        for index, frame in enumerate(container.decode(stream)):
            if index % every == 0:
                width = round(frame.width * 240 / frame.height / 2) * 2
                scaled = frame.to_ndarray(format="rgb24", width=width, height=240)
                yield np.asarray(scaled, np.uint8)


@dataclass(frozen=True)
class Example:
    """A picture, and where its faces are: (n, 4) left, top, width, height as shares; None where
    nobody looked."""

    picture: Picture
    faces: NDArray[np.float32] | None = None
    of_clip: bool = False

    def face_mask(self) -> Mask:
        """Faces as ellipses."""
        height, width = self.picture.shape[:2]
        mask = np.zeros((height, width), np.float32)
        for left, top, wide, tall in self.faces if self.faces is not None else ():
            centre = round((left + wide / 2) * width), round((top + tall / 2) * height)
            axes = max(1, round(wide * width * 0.55)), max(1, round(tall * height * 0.55))
            cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
        return mask


def _material(data: Path) -> list[Example]:
    """Tier A's photographs and frames of clips, without what is held out."""
    boxes: dict[str, list[list[float]]] = {}
    with (Path(__file__).parent / "faces.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            box = [float(row[side]) for side in ("left", "top", "width", "height")]
            boxes.setdefault(row["file"], []).append(box)
    unlooked = (Path(__file__).parents[1] / "benchmarks" / "heldout.txt").read_text().split()
    found: list[Example] = []
    with (data / "SOURCES.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            path = data / row["file"]
            if row["tier"] != "A" or path.name in HELD_OUT:
                continue
            if row["kind"] == "content":
                picture, _ = read_picture(path)
                faces = np.array(boxes.get(path.name, []), np.float32).reshape(-1, 4)
                is_known = not any(path.name.startswith(Path(one).stem) for one in unlooked)
                found.append(Example(picture, faces if is_known else None))
            elif row["kind"] == "video" and not any(word in path.name for word in _LEFT_OUT):
                found += [Example(picture, of_clip=True) for picture in frames_of(path, _FRAMES)]
    return found


class Drawing:
    """Draws labelled samples from `examples` at random."""

    def __init__(self, examples: list[Example], teacher: Teacher, seed: int) -> None:
        self._random, self._teacher = np.random.default_rng(seed), teacher
        self._examples = examples
        masks = [teacher(small(example.picture)) for example in examples]
        n_faces = [0 if example.faces is None else len(example.faces) for example in examples]
        self._people = [i for i, mask in enumerate(masks) if mask.mean() > _PEOPLE]
        photos = [i for i in self._people if not examples[i].of_clip]
        self._people += photos * 4  # frames of a clip are much alike
        self._nobody = [i for i, mask in enumerate(masks) if mask.mean() <= _PEOPLE]
        self._faces = [i for i, n in enumerate(n_faces) if n]
        self._masks = {i: masks[i] for i in self._people}
        counts = len(self._people), len(self._nobody), len(self._faces)
        print("{} pictures with people, {} without, {} with faces".format(*counts), flush=True)

    def sample(self) -> tuple[Picture, Mask, Mask, bool]:
        """What the student sees; the teacher's mask of it while it is still clean; its faces, and
        whether they are known."""
        draw, chance = self._random, self._random.random()
        pool = self._people if chance < 0.6 else self._faces if chance < 0.82 else self._nobody
        index = int(draw.choice(pool))
        example = self._examples[index]
        picture, faces = example.picture, example.face_mask()
        if index in self._masks and draw.random() < 0.35:
            picture = self._in_front(picture, np.maximum(self._masks[index], _fitted(faces)))
        to_source = self._crop(*picture.shape[:2])
        clean = np.asarray(_warped(picture, to_source), np.uint8)
        return (
            self._spoilt(clean),
            self._teacher(clean),
            np.asarray(_warped(faces, to_source), np.float32),
            example.faces is not None,
        )

    def _in_front(self, person: Picture, mask: Mask) -> Picture:
        """The person before another background."""
        height, width = person.shape[:2]
        back = self._examples[int(self._random.choice(self._nobody))].picture
        back = np.asarray(cv2.resize(back, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        alpha = cv2.resize(mask, (width, height))[..., None]
        return np.asarray(person * alpha + back * (1 - alpha), np.uint8)

    def _crop(self, height: int, width: int) -> NDArray[np.float64]:
        """From places in the sample to those in a picture of that size, (2, 3)."""
        draw = self._random
        aspect, share = draw.uniform(1.2, 2.1), draw.uniform(0.5, 1.0)
        tall = min(height, width / aspect) * share
        wide = tall * aspect
        x, y = draw.uniform(0, width - wide), draw.uniform(0, height - tall)
        angle = math.radians(draw.normal(0, 5))
        flip = -1 if draw.random() < 0.5 else 1
        scale_x, scale_y = wide / WIDTH, tall / HEIGHT
        cos, sin = math.cos(angle), math.sin(angle)
        turned = np.array(
            [[flip * scale_x * cos, -scale_y * sin], [flip * scale_x * sin, scale_y * cos]]
        )
        centre = np.array([x + wide / 2, y + tall / 2]) - turned @ (WIDTH / 2, HEIGHT / 2)
        return np.concatenate([turned, centre[:, None]], 1)

    def _spoilt(self, clean: Picture) -> Picture:
        """Light, colour, noise and blur of a webcam."""
        draw = self._random
        x = clean.astype(np.float32) / 255
        if draw.random() < 0.2:
            x[:] = x.mean(2, keepdims=True)
        x = x ** np.float32(np.exp(draw.normal(0, 0.25)))
        gain = np.exp(draw.normal(0, 0.12, 3)) * (draw.uniform(0.25, 1) if draw.random() < 0.3
                                                  else 1.0)  # fmt: skip
        x = x * gain.astype(np.float32)
        if draw.random() < 0.25:
            x = np.asarray(cv2.GaussianBlur(x, (0, 0), draw.uniform(0.4, 1.5)), np.float32)
        sigma = abs(draw.normal(0, 0.025))
        x = x + draw.standard_normal(x.shape, np.float32) * np.float32(sigma)
        return np.asarray(np.clip(x * 255 + 0.5, 0, 255), np.uint8)


def _fitted(mask: Mask) -> Mask:
    return np.asarray(cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.float32)


def _warped(picture: NDArray[Any], to_source: NDArray[np.float64]) -> NDArray[Any]:
    shrinks = math.hypot(*to_source[:, 1])
    if shrinks > 1.6 and picture.ndim == 3:
        picture = cv2.blur(picture, (2, 2))
    return cv2.warpAffine(
        picture, to_source, (WIDTH, HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy to the soft mask, more of it along its edge, and soft IoU; of each sample."""
    edge = F.max_pool2d(target, 7, 1, 3) + F.max_pool2d(-target, 7, 1, 3)  # 0 to 1
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    found = torch.sigmoid(logits)
    both = (found * target).sum((1, 2, 3))
    either = (found + target - found * target).sum((1, 2, 3))
    return (each * (1 + 2 * edge)).mean((1, 2, 3)) + 0.3 * (1 - (both + 20) / (either + 20))


def train(data: Path, *, minutes: float, updates: int, batch: int, seed: int) -> PersonNet:
    """Train until `updates` or `minutes` are over; returns the mean of the weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    teacher = Teacher(data / "selfie_segmentation.onnx")
    drawing = Drawing(_material(data), teacher, seed)
    net: Any = PersonNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average: Any = swa_utils.AveragedModel(
        net,
        multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.998),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    print(f"{sum(p.numel() for p in net.parameters())} weights", flush=True)
    began, step, share, mean = time.monotonic(), 0, 0.0, 0.0
    while share < 1:
        seconds = time.monotonic() - began
        share = max(step / updates, seconds / (60 * minutes))
        rate = 3e-3 * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * min(1, share)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        drawn = [drawing.sample() for _ in range(batch)]
        pictures, people, faces, known = (np.stack(part) for part in zip(*drawn, strict=True))
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
        y = torch.from_numpy(np.stack([people, faces], 1))
        if share < _AT_HALF_SIZE:
            x, y = (F.interpolate(z, (80, 128), mode="area") for z in (x, y))
        logits = net(x)
        of_faces = _loss(logits[:, 1:], y[:, 1:]) * torch.from_numpy(known)
        of_people = _loss(logits[:, :1], y[:, :1])
        loss = of_people.mean() + 0.5 * of_faces.mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(net)
        step += 1
        mean += 0.01 * (float(loss.detach()) - mean)
        if step % 100 == 0:
            print(f"{step} updates, {seconds:.0f} s, loss {mean:.4f}", flush=True)
    module: PersonNet = average.module
    return module.eval()


def write(net: PersonNet, output: Path) -> None:
    """Export the net as an ONNX file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    frame = torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        _Model(net).eval(), (frame,), input_names=["frame"], output_names=["masks"], dynamo=True,
        verbose=False,
    )  # fmt: skip
    assert program is not None
    program.save(str(output))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m export.person_mask", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.csv")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--updates", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("person.onnx"))
    given = parser.parse_args()
    net = train(
        given.data, minutes=given.minutes, updates=given.updates, batch=given.batch, seed=given.seed
    )
    torch.save(net.state_dict(), given.output.with_suffix(".pt"))
    write(net, given.output)


if __name__ == "__main__":
    main()
