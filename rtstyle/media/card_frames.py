"""FFmpeg's frames in a card's memory as pictures that stay there, and back; no copy either way."""

from __future__ import annotations

from collections.abc import Callable

from av import VideoFrame
from av.video.frame import CudaContext
from av.video.reformatter import ColorRange

from rtstyle.frame import CardImage, Image
from rtstyle.media.colour import is_hdr, matrix_of, range_of

# Of red and blue in luma, by swscale's number of the matrix.
_WEIGHTS = {
    1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}  # fmt: skip
_NV12 = "nv12"


def card_image(frame: VideoFrame, download: Callable[[], Image]) -> CardImage | None:
    """The frame as a picture that stays on the card, or None for one that has to come down: not
    8 bit 4:2:0, interlaced, of high dynamic range, or in this computer's memory."""
    if frame.format.name != "cuda":
        return None
    return nv12_image(frame, download)


def nv12_image(frame: VideoFrame, download: Callable[[], Image]) -> CardImage | None:
    """As `card_image`, wherever the frame lies."""
    stored = frame.sw_format or frame.format
    weights = _WEIGHTS.get(matrix_of(frame) or 0)
    odd = frame.width % 2 or frame.height % 2
    if stored.name != _NV12 or odd or weights is None or frame.interlaced_frame or is_hdr(frame):
        return None
    luma, chroma = frame.planes[:2]
    return CardImage(
        luma, chroma, (frame.height, frame.width), weights,
        full_range=range_of(frame) == ColorRange.JPEG, card=luma.__dlpack_device__()[1],
        download=download,
    )  # fmt: skip


class CardFrames:
    """Makes frames for an encoder out of pictures on a card. Used by one thread."""

    def __init__(self) -> None:
        self._contexts: dict[int, CudaContext] = {}

    def frame(self, image: CardImage) -> VideoFrame:
        """The picture as a frame, which keeps its memory until the encoder has done with it."""
        height, width = image.size
        context = None
        if image.luma.__dlpack_device__()[0] == _CUDA:
            context = self._contexts.setdefault(image.card, CudaContext(image.card))
        return VideoFrame.from_dlpack(
            (image.luma, image.chroma), _NV12, width, height, cuda_context=context
        )


_CUDA = 2  # DLPack's number of the kind of device
