"""The cases that the judge is tested on, and the solution that they are made from."""

import ast
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from grading.parsing.source import Source, Unreadable, read_source
from harness.course.assignment import Assignment
from harness.course.assignments import DECLARATION
from harness.errors import UserError

Kind = Literal["solution", "handout", "mistake", "formula", "source", "control", "hint"]
MUTANTS: tuple[Kind, ...] = ("mistake", "formula", "source")


@dataclass(frozen=True)
class Case:
    """A submission to judge, and the outcome that it must have.

    ``text`` describes it: its expression or its change. A mutant has a ``stage`` (a slug) and
    ``claims``, the ids of checks that must fail; for a mutant made by rule, at least one of them.
    ``same`` says why a mutant is equivalent to the solution after all. ``is_general`` tells a
    mistake that any stage can have. A "hint" is a mistake undone as its hint says. A case that
    ``delegates`` asks autograd for what its stage declares no gradient of, and is flagged for that.
    """

    name: str
    kind: Kind
    suffix: str
    data: bytes = field(repr=False)
    text: str = ""
    stage: str = ""
    claims: tuple[str, ...] = ()
    same: str | None = None
    is_general: bool = False
    delegates: bool = False


@dataclass(frozen=True)
class Solution:
    """The instructor's solution of an assignment: one module or notebook."""

    name: str
    data: bytes = field(repr=False)

    @property
    def suffix(self) -> str:
        """``.py`` or ``.ipynb``."""
        return Path(self.name).suffix

    @cached_property
    def source(self) -> Source:
        """Its code. Raise Unreadable if there is none."""
        return read_source(self.name, self.data)

    def followed_by(self, code: str) -> bytes:
        """Return the solution with ``code`` at its end, which can redefine its classes."""
        if self.suffix != ".ipynb":
            return self.data.rstrip() + b"\n\n\n" + code.encode()
        notebook: dict[str, Any] = json.loads(self.data)
        cell = {"cell_type": "code", "metadata": {}, "source": code, "outputs": []}
        notebook["cells"].append({**cell, "execution_count": None})
        return json.dumps(notebook).encode()

    def defined(self) -> dict[str, ast.ClassDef | ast.FunctionDef]:
        """Return the classes and functions at top level by name; the last one of a name counts."""
        found: dict[str, ast.ClassDef | ast.FunctionDef] = {}
        for cell in self.source.cells:
            try:
                body = ast.parse(cell.text).body
            except (SyntaxError, ValueError):
                # A cell with notebook magics is not Python.
                continue
            for node in body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    found[node.name] = node
        return found


def unsolved(solution: Solution, assignment: Assignment) -> Solution:
    """Return a module as students might get it: nothing that is their work is written yet."""
    both = [stage for stage in assignment.stages if stage.forward_is_work]
    names = {"backward", *(pair.backward for pair in assignment.pairs.values())}
    names |= {stage.pair.forward for stage in both if stage.pair}
    classes = {stage.name for stage in both if not stage.pair}
    names |= {"step"} if assignment.optimizers else set()
    names |= {each.name for each in assignment.detectives}
    tree = ast.parse(solution.data)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in classes:
            _unwrite(node.body, {"forward"})
        _unwrite([node], names)
    return Solution(solution.name, ast.unparse(tree).encode())


def _unwrite(nodes: Iterable[ast.AST], names: Collection[str]) -> None:
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.body = ast.parse("raise NotImplementedError").body


def read_solution(folder: Path) -> Solution:
    """Return the module or notebook in ``folder``. Raise UserError unless it holds exactly one."""
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder}: run this in the course's folder. `backprop release` "
            "makes assignments/."
        )
    code = [path for path in sorted(folder.iterdir()) if path.suffix in (".py", ".ipynb")]
    code = [path for path in code if not path.name.startswith(".") and path.name != DECLARATION]
    # Other modules belong to the declaration of the assignment.
    named = [path for path in code if path.stem == folder.name]
    code = [path for path in code if path.suffix == ".ipynb"] or named or code
    if len(code) != 1:
        names = ", ".join(path.name for path in code) or "none"
        raise UserError(f"{folder} must hold one module or notebook; it holds {names}.")
    solution = Solution(code[0].name, code[0].read_bytes())
    try:
        _ = solution.source
    except Unreadable as reason:
        raise UserError(f"{code[0]}: {reason}") from None
    return solution
