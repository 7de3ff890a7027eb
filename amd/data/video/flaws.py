"""What the frames of a video tell of its flaws: frames that are lost between others, and frames of another size.

Input: every frame of amd.data.video.decode.read_frames, at no rate of its own. Output: sentences for a person.
"""

from amd.data.video.decode import Frame


class Flaws:
    """Counts the flaws of one video while its frames go by."""

    def __init__(self) -> None:
        self.frames = 0  # good ones
        self.lost = 0
        self.refitted = 0
        self._places = 0
        self._first_s = 0.0  # time of the last good frame before the first loss
        self._last_s = 0.0

    def see(self, frame: Frame) -> None:
        """Take the next frame into account."""
        if frame.lost:
            self._first_s = self._first_s if self.lost else self._last_s
            self._places += 1
        self.frames += 1
        self.lost += frame.lost
        self.refitted += frame.refitted
        self._last_s = frame.timestamp

    def texts(self) -> list[str]:
        """A sentence per kind of flaw; none of a video without."""
        found = []
        if self.lost:
            place = "near" if self._places == 1 else f"in {self._places} places, the first near"
            found.append(f"{self.lost} of {self.frames + self.lost} frames lost {place} {self._first_s:.1f} s")
        if self.refitted:
            found.append(
                f"{self.refitted} of {self.frames} frames have another size than the first; they are fitted into it "
                "with black bars"
            )
        return found
