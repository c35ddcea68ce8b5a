"""Puts a handout where a student is, from the installed package, and overwrites nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from grading.courses.new import PACKED
from harness.course.assignments import RELEASE, SHIPPED
from harness.errors import UserError

_HANDOUTS = PACKED / RELEASE


def handouts() -> Iterator[tuple[str, str]]:
    """Yield the name and the title of each handout."""
    for name in SHIPPED:
        text = (_HANDOUTS / name / f"{name}.ipynb").read_text(encoding="utf-8")
        yield name, "".join(json.loads(text)["cells"][0]["source"]).partition("\n")[0].strip("# ")


def start_handout(name: str, folder: Path) -> Iterator[Path]:
    """Put a handout into the folder of its name in ``folder``; yield each file that is written.

    Raise UserError, with nothing written, if a file is there already.
    """
    files = [path for path in sorted((_HANDOUTS / name).iterdir()) if path.is_file()]
    for path in files:
        if os.path.lexists(folder / name / path.name):
            raise UserError(f"{folder / name / path.name} is there already; nothing was written.")
    (folder / name).mkdir(exist_ok=True)
    for path in files:
        with (folder / name / path.name).open("xb") as file:
            file.write(path.read_bytes())
        yield folder / name / path.name
