"""What a module imports that `backprop release` writes beside a notebook."""

import base64
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.course.assignment import Assignment
from harness.drawing.chain import Picture
from harness.notebook import Checked, Handout
from harness.probes.recorded import Recording
from harness.updates.recorded import RecordedSteps


def handout(
    name: str, assignment: Assignment
) -> tuple[Callable[..., Checked], Callable[..., Checked], Callable[..., Picture]]:
    """Return the functions of an assignment's handout: ``check``, ``train`` and ``draw_chain``."""
    made = Handout(replace(assignment, name=name))
    return made.check, made.train, made.draw_chain


def packed(data: bytes) -> str:
    """Return data as text for a module."""
    return base64.b85encode(zlib.compress(data, 9)).decode()


def recorded(text: str) -> Recording:
    """Return the answers that ``text`` packs, for a stage whose forward students write."""
    return Recording(_data(text).decode())


def recorded_steps(text: str) -> RecordedSteps:
    """Return the steps that ``text`` packs, for an optimizer whose reference is the solution."""
    return RecordedSteps(_data(text).decode())


def unpacked(name: str, text: str) -> Path:
    """Return a file of that name with the data that ``text`` packs, gone when Python ends."""
    path = Path(_folder().name, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_data(text))
    return path


def _data(text: str) -> bytes:
    return zlib.decompress(base64.b85decode("".join(text.split())))


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="backprop-")
