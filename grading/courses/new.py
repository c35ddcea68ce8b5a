"""Makes a course's folder, or an assignment of one's own in it, and overwrites nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.course.assignments import (
    DECLARATION,
    NBGRADER_CONFIG,
    SHIPPED,
    module_of,
    refuse_name,
    source_in,
)
from harness.course.settings import SETTINGS_FILE
from harness.errors import UserError

SKELETON = Path(__file__).parent / "skeleton"
_ROOT = Path(__file__).parents[2]
# In an installed package, what a checkout has in its own folder lies here.
_INSTALLED = Path(__file__).parent / "shipped"
PACKED = _INSTALLED if _INSTALLED.is_dir() else _ROOT


def make_course(folder: Path) -> Iterator[Path]:
    """Put the shipped course into a folder; yield each file that is written.

    Files that are there stay as they are.
    """
    for name in SHIPPED:
        for file in sorted((PACKED / "solutions" / name).iterdir()):
            if file.suffix == ".ipynb" or file.name == SETTINGS_FILE:
                yield from _written(file.read_bytes(), source_in(folder) / name / file.name)
    yield from _configured(folder)


def add_assignment(folder: Path, name: str) -> Iterator[Path]:
    """Put an assignment to fill in into a course's folder; yield each file that is written.

    Raise UserError if there is one of that name, or no assignment can have it.
    """
    target = source_in(folder) / name
    refuse_name(name, target)
    if target.exists():
        raise UserError(f"{target} is there already; nothing was written.")
    for file in sorted(SKELETON.iterdir()):
        text = file.read_text(encoding="utf-8")
        text = text.replace("@NAME@", name).replace("@MODULE@", module_of(name))
        goal = file.name.removesuffix(".txt").replace("notebook", name)
        yield from _written(text.encode(), target / goal)
    settings = (PACKED / "solutions" / SHIPPED[0] / SETTINGS_FILE).read_text(encoding="utf-8")
    settings = settings.replace(f"harness/{module_of(SHIPPED[0])}.py", DECLARATION)
    settings = settings.replace(SHIPPED[0], name).replace("sigmoid/", "relu/")
    yield from _written(settings.encode(), target / SETTINGS_FILE)
    yield from _configured(folder)


def _configured(folder: Path) -> Iterator[Path]:
    yield from _written((PACKED / NBGRADER_CONFIG).read_bytes(), folder / NBGRADER_CONFIG)


def _written(data: bytes, path: Path) -> Iterator[Path]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        yield path
