"""Makes the hostile submissions of files.toml: large, deep, or with names that cannot be kept."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from grading.attacks import ASSIGNMENT, FOLDER, RIGHT, Attack, Part, attacks, read

NAMES = frozenset(read(FOLDER / "files.toml"))
_PLACES = {"@RIGHT@": RIGHT, "@WRONG@": RIGHT.replace("g * a * (1 - a)", "g * a")}


def make_files(folder: Path, names: Collection[str]) -> None:
    """Write the submissions with these ``names`` into ``folder``."""
    for name in NAMES.intersection(names):
        if name in _OTHERS:
            _OTHERS[name](folder)
        else:
            file, data = content(name)
            (folder / file).write_bytes(data)


def content(name: str) -> tuple[str, bytes]:
    """Return the name and the content of a submission that is a file."""
    attack = attacks()[name]
    if name in _ZIPS:
        return f"{name}.zip", _ZIPS[name]()
    if attack.members:
        return f"{name}.zip", _zip({each: _text(parts) for each, parts in attack.members.items()})
    if attack.cells:
        return f"{name}.ipynb", _notebook(attack).encode()
    text = _MODULES[name]() if name in _MODULES else _text(attack.parts)
    return name + attack.suffix, text.encode()


def _text(parts: Iterable[Part]) -> str:
    return "".join(text for part in parts for text in _repeated(part))


def _repeated(part: Part) -> Iterator[str]:
    text, count = (part, 1) if isinstance(part, str) else part
    return iter([_PLACES.get(text, text)] * count)


def _notebook(attack: Attack) -> str:
    plain = {"metadata": {}, "outputs": [], "execution_count": None} | attack.cell
    sources = [text for part in attack.cells for text in _repeated(part)]
    cells = [{"cell_type": "code", "source": source} | plain for source in sources]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    return text.replace("@PICTURE@", "A" * 24_000_000)


def _zip(members: Mapping[str | zipfile.ZipInfo, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _links(folder: Path) -> None:
    """Write two links, one of them in a zip."""
    link = zipfile.ZipInfo("work.py")
    link.external_attr = 0o120777 << 16
    (folder / "link.zip").write_bytes(_zip({link: "/etc/passwd"}))
    (folder / "link.py").symlink_to("/etc/passwd")


def _shadows(folder: Path) -> None:
    """Write a right submission among files named like what Python and pytest look for."""
    folder = folder / "shadows"
    folder.mkdir()
    forged = "raise SystemExit('the attack has succeeded')\n"
    for name in ("torch", "conftest", "sitecustomize", "harness", "numpy"):
        (folder / name).mkdir()
        (folder / name / "__init__.txt").write_text(forged)
    (folder / "sitecustomize.pth").write_text("import os; os._exit(0)\n")
    (folder / "work.py").write_text(RIGHT)


def _replies_of_seed_0() -> str:
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
    return attacks()["replies-of-seed-0"].text.replace('"REPLIES"', repr(json.dumps(replies)))


def _inputs_in_lines() -> str:
    """Return a Sigmoid whose exception says, by its kind and its line, 17 bits of an input."""
    lines = "\n".join(f"    if line == {at}: raise kind" for at in range(2**13))
    return attacks()["inputs-in-lines"].text.replace("    pass  # LINES", lines)


_MODULES = {"replies-of-seed-0": _replies_of_seed_0, "inputs-in-lines": _inputs_in_lines}
_ZIPS: dict[str, Callable[[], bytes]] = {
    "bomb-members": lambda: _zip({f"{number}.py": "" for number in range(20_000)}),
    "bomb-zips": lambda: _zip({"inner.zip": _zip({"work.py": RIGHT})}),
}
_OTHERS: dict[str, Callable[[Path], None]] = {
    "link": _links,
    "pipe": lambda folder: os.mkfifo(folder / "pipe.py"),
    "shadows": _shadows,
}
