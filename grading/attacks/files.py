"""Hostile submissions that are made, not kept: large, deep, or of names that cannot be kept."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from grading.attacks import ASSIGNMENT, RIGHT, Attack

LARGE = 15 * 2**20
MUCH_CODE = 4_000_000
ESCAPES = "\x1b[31m[bold]<b>\u202e"


def _notebook(*cells: dict[str, Any]) -> str:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def _code(source: str, **keys: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    } | keys


def _picture(size: int) -> dict[str, Any]:
    data = base64.b64encode(bytes(size)).decode()
    return {"output_type": "display_data", "metadata": {}, "data": {"image/png": data}}


def _zip(**members: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def _link_in_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("work.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def _beside(folder: Path) -> None:
    """A right submission among files of the names that Python and pytest look for."""
    folder.mkdir()
    forged = "raise SystemExit('the attack has succeeded')\n"
    for name in ("torch", "conftest", "sitecustomize", "harness", "numpy"):
        (folder / name).mkdir()
        (folder / name / "__init__.txt").write_text(forged)
    (folder / "sitecustomize.pth").write_text("import os; os._exit(0)\n")
    (folder / "work.py").write_text(RIGHT)


def _replayed() -> str:
    """Return a Sigmoid that knows the right replies under seed 0 by heart, and no mathematics."""
    from harness.candidate.workbench import Workbench
    from harness.course.assignments import load_assignment
    from harness.judging.judge import judge

    names: dict[str, Any] = {}
    exec(RIGHT, names)
    table: dict[str, Any] = {}
    backward = names["Sigmoid"].backward

    def recorded(ctx: Any, g: Any) -> Any:
        returned = backward(ctx, g)
        table[repr((ctx.saved_tensors[0].tolist(), g.tolist()))] = returned.tolist()
        return returned

    names["Sigmoid"].backward = staticmethod(recorded)
    judge(load_assignment(ASSIGNMENT), Workbench(names), seed=0, only=["sigmoid/gradient/z"])
    replies = {hashlib.sha256(key.encode()).hexdigest()[:16]: each for key, each in table.items()}
    return Attack(
        "Replays what was right under seed 0.",
        (),
        "",
        0,
        before=f"import hashlib\nimport json\nREPLIES = json.loads({json.dumps(replies)!r})\n",
        backward="key = repr((a.tolist(), g.tolist()))\n"
        "known = REPLIES.get(hashlib.sha256(key.encode()).hexdigest()[:16])\n"
        "return torch.zeros_like(g) if known is None else torch.tensor(known, dtype=g.dtype)\n",
    ).text


def _told_by_lines() -> str:
    """Return a Sigmoid whose exception says, by its kind and its line, 17 bits of an input."""
    lines = "\n".join(f"    if line == {at}: raise kind" for at in range(2**13))
    return Attack(
        "Tells hidden inputs by the line and the kind of an exception.",
        (),
        "",
        0,
        before=f"KINDS = {KINDS}\n\ndef tell(line, kind):\n{lines}\n",
        backward="bits = int(1e6 * abs(float(g.sum()))) % 2**17\n"
        "tell(bits >> 4, KINDS[bits % 16])\n",
    ).text


KINDS = """(ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    ZeroDivisionError, OverflowError, LookupError, NameError, OSError, RuntimeError,
    AssertionError, BufferError, EOFError, StopIteration)"""
# A module or a notebook each, or a zip, by the file's name.
FILES: dict[str, Callable[[], str | bytes]] = {
    "replies-of-seed-0.py": _replayed,
    "inputs-in-lines.py": _told_by_lines,
    "bomb-brackets.py": lambda: RIGHT + "x = " + "[" * MUCH_CODE,
    "bomb-signs.py": lambda: RIGHT + "x = " + "-" * 10**6 + "1\n",
    "bomb-attributes.py": lambda: RIGHT + "x = a" + ".a" * 10**5 + "\n",
    "bomb-number.py": lambda: RIGHT + "x = " + "9" * 10**6 + "\n",
    "bomb-power.py": lambda: RIGHT + "x = 2 ** 2 ** 40\n",
    "bomb-f-strings.py": lambda: RIGHT + "x = " + "f'{" * 10**5 + "1\n",
    "bomb-lines.py": lambda: RIGHT + "x = 1\n" * (MUCH_CODE // 6),
    "bomb-code.py": lambda: RIGHT + "x = 1\n" * (LARGE // 6),
    "bomb-nulls.py": lambda: RIGHT.encode() + b"\0" * LARGE,
    "bomb-json.ipynb": lambda: "[" * LARGE,
    "bomb-objects.ipynb": lambda: '{"nbformat": 4, "cells": [' + "{}," * (LARGE // 3) + "{}]}",
    "bomb-json-nested.ipynb": lambda: (
        '{"metadata": ' + "[" * 10**5 + "]" * 10**5 + ', "cells": [], "nbformat": 4}'
    ),
    "bomb-json-number.ipynb": lambda: '{"cells": [], "nbformat": ' + "9" * 10**6 + "}",
    "bomb-cells.ipynb": lambda: _notebook(_code(RIGHT), *[_code("")] * 10**4),
    "bomb-keys.ipynb": lambda: "{" + '"cells": [], ' * 10**6 + '"nbformat": 4}',
    "pictures.ipynb": lambda: _notebook(_code(RIGHT, outputs=[_picture(18 * 10**6)])),
    "prebaked-outputs.ipynb": lambda: _notebook(
        _code(
            RIGHT.replace("g * a * (1 - a)", "g * a"),
            outputs=[
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {},
                    "data": {"text/plain": "10.0", "text/html": "<script>alert(1)</script>"},
                }
            ],
        )
    ),
    "altered-cells.ipynb": lambda: _notebook(
        _code(
            RIGHT.replace("g * a * (1 - a)", "g * a"),
            id="many-neurons",
            metadata={
                "nbgrader": {
                    "grade": True,
                    "grade_id": "check-sigmoid",
                    "locked": False,
                    "points": 1000,
                    "solution": True,
                    "schema_version": 3,
                }
            },
        )
    ),
    "notebook-hooks.ipynb": lambda: _notebook(
        _code(
            "get_ipython().ast_transformers.append(print)\n"
            "get_ipython().events.register('pre_run_cell', print)"
        ),
        _code("%run /tmp/backprop-attack.py\n%load_ext evil"),
        _code(RIGHT),
        _code("check(Sigmoid)"),
    ),
    "shell-magics.ipynb": lambda: _notebook(
        _code("!touch /tmp/backprop-attack"),
        _code("%%script sh\ntouch /tmp/backprop-attack"),
        _code("%%bash\ntouch /tmp/backprop-attack"),
        _code("get_ipython().system('touch /tmp/backprop-attack')"),
        _code(RIGHT),
    ),
    "bomb.zip": lambda: _zip(**{"work.py": "#" * 10**8}),
    "bomb-members.zip": lambda: _zip(**{f"{number}.py": "" for number in range(20_000)}),
    "bomb-zips.zip": lambda: _zip(**{"inner.zip": _zip(**{"work.py": RIGHT})}),
    "slip.zip": lambda: _zip(**{"../backprop-attack.py": RIGHT, "/tmp/backprop-attack": RIGHT}),
    "link.zip": _link_in_zip,
    f"name-{ESCAPES}.py": lambda: RIGHT,
    "name-of\ntwo-lines.py": lambda: RIGHT,
    "=name,of a formula.py": lambda: RIGHT,
    "-n.py": lambda: RIGHT,
}


def make_files(folder: Path, names: Collection[str]) -> None:
    """Write those with these ``names`` into ``folder``."""
    for file, content in FILES.items():
        if file.rpartition(".")[0] in names:
            made = content()
            (folder / file).write_bytes(made if isinstance(made, bytes) else made.encode())
    for name, make in OTHERS.items():
        if name in names:
            make(folder)


OTHERS: dict[str, Callable[[Path], None]] = {
    "link": lambda folder: (folder / "link.py").symlink_to("/etc/passwd"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe.py"),
    "shadows": lambda folder: _beside(folder / "shadows"),
}
# What they are called as submissions.
NAMES = frozenset({name.rpartition(".")[0] for name in FILES} | set(OTHERS))
