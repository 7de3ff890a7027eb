"""Maps of a video's frames kept on disk between its two passes: memory does not grow with the video's length."""

import tempfile
from types import TracebackType

import numpy as np


class Spool:
    """Maps float32 h,w in [0, 1], all of one size, added in order and read by number; kept in 256 steps.

    Use it as a context: the file, which has no name, is gone at its end.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._size: tuple[int, int] = (0, 0)
        self._count = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, values: np.ndarray) -> None:
        """Append the next frame's map."""
        self._size = (values.shape[0], values.shape[1])
        self._file.seek(0, 2)
        self._file.write((values * 255).round().astype(np.uint8).tobytes())
        self._count += 1

    def __getitem__(self, number: int) -> np.ndarray:
        """The map of a frame; IndexError when there is none of that number."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        height, width = self._size
        self._file.seek(number * height * width)
        values = np.frombuffer(self._file.read(height * width), np.uint8).reshape(height, width)
        return values.astype(np.float32) / 255
