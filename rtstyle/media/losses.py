"""What a video lost on its way through the decoder: counted part by part, told once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Packets `skipped` before the first picture and `lost` after it, and pictures `repaired` by
    the decoder, the first of them at `first_repaired` seconds, or `untimed` by the file.

    `remarks` are sentences on the pictures, each told once.
    """

    skipped: int = 0
    lost: int = 0
    repaired: int = 0
    first_repaired: Fraction = Fraction(0)
    untimed: int = 0
    remarks: tuple[str, ...] = ()

    def __add__(self, later: Losses) -> Losses:
        """Those of two parts, `later` the one behind."""
        return Losses(
            skipped=self.skipped + later.skipped,
            lost=self.lost + later.lost,
            repaired=self.repaired + later.repaired,
            first_repaired=self.first_repaired if self.repaired else later.first_repaired,
            untimed=self.untimed + later.untimed,
            remarks=tuple(dict.fromkeys((*self.remarks, *later.remarks))),
        )

    def sentences(self) -> list[str]:
        """What a user is told."""
        told = list(self.remarks)
        if self.skipped:
            told.append(f"{self.skipped} packets before the first picture could not be decoded")
        if self.lost:
            told.append(f"{self.lost} packets within the video gave no picture")
        if self.repaired:
            told.append(
                f"{self.repaired} frames are damaged in the file and were painted as the "
                f"decoder repaired them (the first at {float(self.first_repaired):.3f} s)"
            )
        if self.untimed:
            told.append(
                f"the file gives no time for {self.untimed} frames; "
                "each was put one frame duration after the one before"
            )
        return told
