"""Hostile submissions that are made, not kept: large, deep, or of names that cannot be kept."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grading.attacks import RIGHT

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


# A module or a notebook each, or a zip, by the file's name.
FILES: dict[str, Callable[[], str | bytes]] = {
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


def make_files(folder: Path) -> None:
    """Write them into ``folder``, with a link, a pipe and a folder among them."""
    for name, content in FILES.items():
        made = content()
        data = made if isinstance(made, bytes) else made.encode()
        (folder / name).write_bytes(data)
    (folder / "link.py").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.py")
    _beside(folder / "shadows")


# What they are called as submissions.
NAMES = frozenset({name.rpartition(".")[0] for name in FILES} | {"link", "pipe", "shadows"})
