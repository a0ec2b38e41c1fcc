"""What holds a resource and gives it back when its `with` block is left."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager that calls its own `close` at the end, whatever happened in between."""

    def close(self) -> None:
        """Give back what is held. Safe after an error in the block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
