"""Keep one browser, one JupyterLab, and the list of screenshots."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from PIL import Image
from selenium.webdriver import Chrome

from screenshots.browser import LAPTOP, browser, resize
from screenshots.lab import ROOT, Notebook, lab, open_notebook

IMAGES = ROOT / "docs" / "images"
COLOURS = 256

Shot = Callable[["Studio"], bytes]
SHOTS: dict[str, Shot] = {}


def shot(name: str) -> Callable[[Shot], Shot]:
    """Register the decorated function: the PNG that it returns is kept as NAME.png."""

    def added(take: Shot) -> Shot:
        SHOTS[name] = take
        return take

    return added


@dataclass
class Studio:
    """The tools that a screenshot is taken with; ``folder`` is for temporary files."""

    chrome: Chrome
    folder: Path
    stack: ExitStack

    @cached_property
    def notebook(self) -> Notebook:
        """The released notebook of many-neurons in JupyterLab, with all solutions run."""
        released = self.folder / "lab" / "many-neurons"
        shutil.copytree(ROOT / "assignments" / "many-neurons", released)
        address = self.stack.enter_context(lab(released.parent))
        opened = open_notebook(self.chrome, address, "many-neurons/many-neurons.ipynb")
        opened.run("imports")
        for cell, source in solutions("many-neurons").items():
            opened.paste(cell, source)
            opened.run(cell)
        return opened


def solutions(name: str) -> dict[str, str]:
    """Return the instructor's source of the cells that students write, by cell id."""
    file = ROOT / "solutions" / name / f"{name}.ipynb"
    notebook = nbformat.read(file, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    return {
        cell.id: re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", cell.source).rstrip()
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }


def with_wrong_sigmoid(source: str) -> str:
    """Return the sigmoid's source with z in place of a, a common mistake."""
    return (
        source.replace("save_for_backward(a)", "save_for_backward(z)")
        .replace("(a,) = ctx", "(z,) = ctx")
        .replace("g * a * (1 - a)", "g * z * (1 - z)")
    )


@contextmanager
def studio(folder: Path) -> Iterator[Studio]:
    """Open a studio with a browser; JupyterLab starts when it is first needed."""
    with ExitStack() as stack:
        chrome = stack.enter_context(browser())
        yield Studio(chrome, folder, stack)


def take(made: Studio, name: str) -> Path:
    """Take one screenshot, reduce its colours, and return its file in docs/images."""
    resize(made.chrome, LAPTOP)
    file = IMAGES / f"{name}.png"
    picture = Image.open(io.BytesIO(SHOTS[name](made))).convert("RGB")
    # Median cut, the default, would give up the few pixels of a mark in red.
    few = picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    return file
