"""A class that hands in one-neuron notebooks: right, wrong, broken, altered, and attackers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]
ORDINARY = {"alice": 10.0, "bob": 6.0, "carol": 0.0, "zoe": 5.7}
# A written answer, which a person marks.
ANSWER = {
    "cell_type": "markdown",
    "id": "reflection",
    "metadata": {
        "nbgrader": {
            "grade": True,
            "grade_id": "reflection",
            "locked": False,
            "points": 2,
            "schema_version": 3,
            "solution": True,
            "task": False,
        }
    },
    "source": "Why does the sigmoid's slope vanish far from zero? YOUR ANSWER HERE",
}
# What the submission reads and writes if it can, and says if it could. A relative path may be made
# anew in its own temporary folder: what is empty there is no gradebook.
REACH = """
import glob, os, sqlite3
for path in {paths!r}:
    for mode in ("rb", "ab"):
        try:
            with open(path, mode) as file:
                found = file.seek(0, os.SEEK_END)
        except OSError:
            continue
        if found:
            raise RuntimeError("through: opened the gradebook")
    try:
        base = sqlite3.connect(path)
        base.execute("UPDATE grade SET manual_score = 99")
        base.commit()
    except sqlite3.Error:
        continue
    raise RuntimeError("through: wrote to the gradebook")
"""
PATCHED = """
import builtins, os, warnings
import numpy as np, torch
builtins.abs = lambda x: 0.0
torch.allclose = lambda *a, **k: True
def check(*stages): return np.float64("nan")
def train(*stages): return torch.tensor(2.0)
os._exit(0)
"""
NOISY = """
import sys, warnings
warnings.warn("deprecated")
print("on stderr", file=sys.stderr)
"""
MARKUP = """<script>alert("markup")</script> <img src=x onerror='alert("markup")'>

[here](javascript:alert("markup")) ![](attachment:nowhere.png)

```mermaid
</pre><script>alert("markup")</script>
```
"""


def solved(source: Notebook, released: Notebook) -> Notebook:
    """The released notebook with the instructor's work in it, and an answer."""
    work = {id_of(cell): cell["source"] for cell in source["cells"]}
    made = copy.deepcopy(released)
    for cell in made["cells"]:
        mark = cell["metadata"].get("nbgrader", {})
        if mark.get("solution"):
            cell["source"] = work[mark["grade_id"]] if not mark["grade"] else "Its tails are flat."
    return made


def id_of(cell: Notebook) -> str:
    """nbgrader's id of a cell, or nothing."""
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def text_of(cell: Notebook) -> str:
    """A cell's source."""
    return "".join(cell["source"])


def notebooks(source: Notebook, released: Notebook, gradebook: Path) -> dict[str, str]:
    """Each student's notebook, as text."""
    right = solved(source, released)
    paths = [str(gradebook), "gradebook.db", "../../../gradebook.db", "../gradebook.db"]
    return {
        "alice": json.dumps(right),
        "bob": _with(right, _wrong_sigmoid),
        "carol": json.dumps(released),
        "dave": _with(right, _begins_with(REACH.format(paths=paths))),
        "erin": _with(released, _begins_with(PATCHED)),
        "frank": _with(right, _loops),
        "grace": json.dumps(right)[:-200],
        "heidi": _with(right, _altered),
        "ivan": _with(right, _without_checks),
        "judy": _with(right, _noisy),
        "mallory": _with(right, _acting),
        "zoe": _with(right, _without_weights),
    }


def _with(notebook: Notebook, change: Callable[[list[Notebook]], None]) -> str:
    made = copy.deepcopy(notebook)
    change(made["cells"])
    return json.dumps(made)


def _cell(cells: list[Notebook], id: str) -> Notebook:
    return next(cell for cell in cells if id_of(cell) == id)


def _replace(cell: Notebook, old: str, new: str) -> None:
    assert old in text_of(cell)
    cell["source"] = text_of(cell).replace(old, new)


def _begins_with(code: str) -> Callable[[list[Notebook]], None]:
    def change(cells: list[Notebook]) -> None:
        cells.insert(0, _code(code, {}))

    return change


def _code(source: str, metadata: Notebook) -> Notebook:
    cell: Notebook = {"cell_type": "code", "execution_count": None, "id": "extra", "outputs": []}
    return cell | {"metadata": metadata, "source": source}


def _wrong_sigmoid(cells: list[Notebook]) -> None:
    _replace(_cell(cells, "sigmoid"), "g * a * (1 - a)", "g * (1 - a)")


def _without_weights(cells: list[Notebook]) -> None:
    _replace(_cell(cells, "weighted-sum"), "g * w, g * a_prev, g", "g * a_prev, g * w, g")


def _loops(cells: list[Notebook]) -> None:
    _replace(_cell(cells, "sigmoid"), "(a,) =", "while True: pass\n        (a,) =")


def _noisy(cells: list[Notebook]) -> None:
    cells.insert(0, _code(NOISY, {}))
    work = _cell(cells, "sigmoid")
    _replace(work, "(a,) =", "__import__('warnings').warn('careful')\n        (a,) =")


def _without_checks(cells: list[Notebook]) -> None:
    cells[:] = [
        cell
        for cell in cells
        if not (cell["metadata"].get("nbgrader", {}).get("grade") and id_of(cell) != "reflection")
    ]


def _altered(cells: list[Notebook]) -> None:
    """Points, ids and kinds are others, a cell stands twice, and a check gives itself all."""
    _cell(cells, "check-sigmoid")["metadata"]["nbgrader"]["points"] = 100
    _cell(cells, "check-sigmoid")["source"] = "100.0"
    cells.append(copy.deepcopy(_cell(cells, "train")))
    _cell(cells, "train")["metadata"]["nbgrader"] |= {"grade": False, "schema_version": 1}
    _cell(cells, "check-squared-error")["metadata"]["nbgrader"]["grade_id"] = "mine"
    check = _cell(cells, "check-weighted-sum")
    check["cell_type"] = "markdown"
    work = _cell(cells, "sigmoid")
    work["cell_type"] = "raw"
    for cell in (check, work):
        del cell["outputs"], cell["execution_count"]


def _acting(cells: list[Notebook]) -> None:
    """Text that would act in the browser of whoever reads it, and values that are no text."""
    answer = _cell(cells, "reflection")
    answer["source"] = MARKUP
    cells.insert(
        0, _code('x = "\ud800"', {"tags": ['"><script>alert("markup")</script>'], "a": {}})
    )
    cells.insert(0, {"cell_type": "raw", "metadata": {}, "source": MARKUP, "id": '"<script>'})
    cells.insert(0, {"cell_type": "heading", "metadata": {}, "source": ["<b>", "markup"]})
