"""Optimizers to judge: wrong ones, made of known mistakes and of the solution, and right ones."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from grading.parsing.source import read_source
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate
from grading.verify.case import Case, Kind, Solution
from grading.verify.rewrites import rewrites_of
from harness.candidate.operations import Candidate
from harness.cases.cases import GENERIC_SEED, generator_for
from harness.course.assignment import Assignment
from harness.course.settings import Limits
from harness.probes.context import Failed
from harness.probes.optimizers import (
    OptimizerContext,
    missing,
    precision,
    purity,
    settings,
    state,
    update,
)
from harness.updates import Optimizer, Rule
from harness.updates.drawing import drawn
from harness.updates.edits import conventions_of, mistakes_of

# Those that a rule cannot say in Python's own words.
_RENAMED = {"max": "greatest", "min": "least"}
_EQUAL = "the same steps on other trajectories"


@cache
def _frames() -> Mapping[str, Any]:
    path = Path(__file__).with_name("optimizers.toml")
    found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return found


def optimizer_controls(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Yield what each right class is, and its code: each frame, with each convention."""
    for optimizer in assignment.optimizers:
        if optimizer.rule is None:
            continue
        rules = {"": optimizer.rule}
        rules |= {", ".join(each.names): each.rule for each in conventions_of(optimizer)}
        for frame in _frames()["frame"]:
            for how, rule in rules.items():
                said = ", ".join(filter(None, (frame, how)))
                yield f"{optimizer.name}: {said}", class_text(optimizer, rule, frame)


def optimizer_mutants(
    assignment: Assignment, solution: Solution, spawner: Spawner, limits: Limits, most: int
) -> Iterator[Case]:
    """Yield wrong optimizers: each known mistake, and ``most`` changes to the solution's class."""
    for optimizer in assignment.optimizers:
        for number, wrong in enumerate(mistakes_of(optimizer), start=1):
            code = class_text(optimizer, wrong.rule)
            name = f"{number:03} {wrong.names[0]}"
            same = _EQUAL if _is_right(optimizer, wrong.rule) else None
            yield _mutant(optimizer, solution, "mistake", name, code, str(wrong.rule), same)
        written = solution.defined().get(optimizer.name)
        if not isinstance(written, ast.ClassDef):
            continue
        rewrites = rewrites_of(written, shaped=True)
        for number, rewrite in enumerate(rewrites[:: -(-len(rewrites) // most) or 1], start=1):
            data = solution.followed_by(rewrite.code)
            same = _same(optimizer, Solution(solution.name, data), spawner, limits)
            name, code = f"{number:03}", rewrite.code
            yield _mutant(optimizer, solution, "source", name, code, rewrite.how, same)


def _is_right(optimizer: Optimizer, rule: Rule) -> bool:
    """Return whether an edited rule leads where the reference does, as decay beside plain steps."""
    generator = generator_for(GENERIC_SEED, "optimizer", optimizer.name, "equal")
    trajectory = drawn(optimizer, generator, ((3, 2), (3, 2)), groups=2)
    try:
        found = [each for step in rule.path(trajectory) for each in step]
    except (ArithmeticError, RuntimeError):
        return False
    right = [each for step in optimizer.path(trajectory) for each in step]
    return all(map(partial(torch.allclose, rtol=1e-9, atol=1e-12), found, right))


def class_text(optimizer: Optimizer, rule: Rule, frame: str = "") -> str:
    """Return a class that follows a rule, in a frame (by default the first)."""
    frames = _frames()["frame"]
    text: str = frames[frame or next(iter(frames))]
    pairs = {
        "unpack": _unpacked(optimizer),
        "load": [f'{x} = state.get("{x}", zeros_like(p))' for x in rule.state],
        "rule": [_renamed(line) for line in rule.lines],
        "store": [f'state["{x}"] = {x}' for x in rule.state],
    }
    names = optimizer.hyperparameters
    text = text.replace("«Name»", optimizer.name).replace("«keywords»", ", ".join(names))
    text = text.replace("«passed»", ", ".join(f"{name}={name}" for name in names))
    for gap, lines in pairs.items():
        text = re.sub(
            rf"(?m)^( *)«{gap}»\n",
            lambda found, lines=lines: textwrap.indent("".join(f"{x}\n" for x in lines), found[1]),  # type: ignore[misc]
            text,
        )
    head: str = _frames()["head"]
    return head + _with_habits(text, rule)


def _with_habits(text: str, rule: Rule) -> str:
    """Return the class with the state treated as the habits of the rule have it."""
    if "shares" in rule.habits:
        for name in rule.state:
            shared = f'self.state["all"].get("{name}"'
            text = text.replace(f'state.get("{name}"', shared)
            text = text.replace(f'state["{name}"] =', f'self.state["all"]["{name}"] =')
    if "counts updates" in rule.habits:
        text = text.replace(
            't = state["step"] = state.get("step", 0) + 1',
            'self.count = t = getattr(self, "count", 0) + 1',
        )
    return text


def _unpacked(optimizer: Optimizer) -> list[str]:
    found = []
    for name, value in optimizer.tries[0].items():
        if isinstance(value, tuple):
            one = name.removesuffix("s")
            names = [f"{one}{at}" for at in range(1, len(value) + 1)]
            found.append(f'{", ".join(names)} = group["{name}"]')
        else:
            found.append(f'{name} = group["{name}"]')
    return found


def _renamed(line: str) -> str:
    for name, other in _RENAMED.items():
        line = re.sub(rf"\b{name}\(", f"{other}(", line)
    return line


def _mutant(
    optimizer: Optimizer,
    solution: Solution,
    kind: Kind,
    name: str,
    code: str,
    text: str,
    same: str | None,
) -> Case:
    slug, data = optimizer.slug, solution.followed_by(code)
    return Case(f"{kind} {slug}/{name}", kind, solution.suffix, data, text, slug, same=same)


def _same(optimizer: Optimizer, solution: Solution, spawner: Spawner, limits: Limits) -> str | None:
    """Return why a changed solution is right after all, or None if it is not."""
    source = read_source(solution.name, solution.data)
    with RemoteCandidate(spawner, source, limits) as remote:
        return _EQUAL if _does_the_same(optimizer, remote) else None


def _does_the_same(optimizer: Optimizer, candidate: Candidate) -> bool:
    """Return whether it moves parameters rightly on trajectories that no candidate is judged on."""
    context = OptimizerContext(optimizer, candidate, GENERIC_SEED)
    try:
        for probe in (update, settings, state, missing, precision, purity):
            probe(context)
    except Failed:
        return False
    return True
