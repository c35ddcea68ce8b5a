"""What a student's code prints while it answers, kept beside the answer rather than on the page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from harness.candidate.operations import NOTHING_PRINTED, Printed

TEXT_LIMIT = 2_000


class _Kept(io.TextIOBase):
    """A stream that keeps the beginning of what is written, and counts the lines."""

    def __init__(self) -> None:
        self.text = ""
        self.lines = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text[: TEXT_LIMIT - len(self.text)]
        self.lines += text.count("\n")
        return len(text)

    @property
    def printed(self) -> Printed:
        """Return the text with the number of its lines."""
        return (self.text, max(self.lines, 1)) if self.text else NOTHING_PRINTED


@contextmanager
def kept() -> Iterator[_Kept]:
    """Keep what is printed in the block, which nobody else sees."""
    stream = _Kept()
    with redirect_stdout(stream):
        yield stream
