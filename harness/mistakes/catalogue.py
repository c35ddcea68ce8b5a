"""Catalogues of mistakes: TOML files that say how students change the true gradients.

A table is one mistake, by the name that results carry. ``gradients`` has an edit for each gradient
that is wrong ("*" for every gradient that it changes): a table of replacements, each of whole
words, as ``{ a = "z", " * 2" = "" }``, or an expression, in which ``_`` stands for the true
gradient and ``_w`` for that of input ``w``. ``repair`` is the same for all of these, or a table.
The other keys are those of ``Mistake``. ``only`` names the stages that a mistake belongs to; a
table ``scalar`` or ``batched`` has what is different in those.

Catalogues are merged as dictionaries are: in ``base | own``, an entry of ``own`` replaces that of
the same name.
"""

import ast
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.course.stage import TORCH, Mistake, Stage
from harness.errors import UserError

Edit = str | Mapping[str, str]

_VARIANTS = ("scalar", "batched")
_ONLY = (*_VARIANTS, "several inputs", "matrices")
_TEXT, _TABLE, _LIST = "a string", "a table", "a list of strings"
_EITHER = "a string or a table"
_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("hint", "forward", "code", "only", "habit"), _TEXT),
    **dict.fromkeys(("gradients", "replace", *_VARIANTS), _TABLE),
    "repair": _EITHER,
    **dict.fromkeys(("rejected_by", "unless", "stages"), _LIST),
}


@dataclass(frozen=True)
class Entry:
    """A mistake as a catalogue declares it: its file, its name and its table."""

    file: str
    name: str
    table: Mapping[str, Any]

    def belongs_to(self, stage: Stage) -> bool:
        """Return whether students of this stage can make the mistake.

        ``unless`` names forms of work: a "pair" of functions, of which a "cost" has no upstream.
        """
        forms = {"pair"} if stage.pair else set()
        if not stage.has_upstream:
            forms |= {"cost"}
        if forms & {*self.table.get("unless", ())}:
            return False
        match self.table.get("only", ""):
            case "several inputs":
                return _has_several(stage)
            case "matrices":
                return any(len(stage.inputs[name].axes) > 1 for name in stage.differentiable)
            case only:
                return only in ("", _variant(stage))

    def mistake_in(self, stage: Stage) -> Mistake | None:
        """Return the mistake as it is in a stage, None if it only edits what is not declared there.

        Raise UserError if it fits no such stage.
        """
        table = {**self.table, **self.table.get(_variant(stage), {})}
        try:
            wrong = edited(stage.gradients, table.get("gradients", {}))
            changed = {name: text for name, text in wrong.items() if text != stage.gradients[name]}
            if not changed and set(table) <= {
                "gradients",
                "hint",
                "repair",
                "only",
                "unless",
                "stages",
                *_VARIANTS,
            }:
                return None
            for text in (*changed.values(), table.get("forward") or "0"):
                _check_expression(stage, text)
            steps = table.get("repair", {})
            return Mistake(
                self.name,
                changed,
                hint=table["hint"],
                forward=table.get("forward"),
                code=table.get("code", ""),
                rejected_by=tuple(table.get("rejected_by", ())),
                repair=dict.fromkeys(changed, steps) if isinstance(steps, str) else steps,
            )
        except ValueError as error:
            raise UserError(f"{self.file}, [{self.name}]: {error}") from None


Catalogue = dict[str, Entry]


def load(path: Path) -> Catalogue:
    """Return the entries of a catalogue by name, in their order.

    Raise UserError if the file is not TOML or an entry has a key or a value of the wrong kind.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    for name, table in tables.items():
        fault = _fault_in(table) if isinstance(table, dict) else "a mistake must be a table"
        if not fault and "hint" not in table:
            fault = "hint is missing"
        if fault:
            raise UserError(f"{path.name}, [{name}]: {fault}")
    return {name: Entry(path.name, name, table) for name, table in tables.items()}


def with_mistakes(stage: Stage, catalogue: Catalogue) -> Stage:
    """Return the stage with those mistakes of a catalogue that belong to it."""
    entries = [entry for entry in catalogue.values() if entry.belongs_to(stage)]
    mistakes = (entry.mistake_in(stage) for entry in entries)
    return replace(stage, mistakes=tuple(each for each in mistakes if each))


@cache
def _shipped(name: str) -> Catalogue:
    return load(Path(__file__).with_name(f"{name}.toml"))


def with_known_mistakes(stage: Stage, name: str) -> Stage:
    """Return the stage with the mistakes of the catalogue ``name`` in this folder."""
    return with_mistakes(stage, _shipped(name))


def mistakes_in(stage: Stage) -> tuple[Mistake, ...]:
    """Return the mistakes known for a stage: its own, then those that any stage can have."""
    names = {mistake.name for mistake in stage.mistakes}
    general = with_mistakes(stage, _shipped("every_stage")).mistakes
    return (*stage.mistakes, *(each for each in general if each.name not in names))


def general_hint(name: str) -> str:
    """Return the hint of a mistake that any stage can have."""
    hint: str = _shipped("every_stage")[name].table["hint"]
    return hint


def edited(gradients: Mapping[str, str], edits: Mapping[str, Edit]) -> dict[str, str]:
    """Return gradients with edits made, each in the text of its own.

    Two mistakes compose: edit the gradients that the first edit gives. Raise ValueError if an edit
    is of an unknown gradient or replaces what is not there.
    """
    new = dict(gradients)
    for name, edit in edits.items():
        if name == "*":
            new |= {each: _edited(each, edit, gradients) for each in gradients}
        else:
            if name not in gradients:
                raise ValueError(f"there is no input {name}; the inputs are {', '.join(gradients)}")
            for old in edit if not isinstance(edit, str) else ():
                if not re.search(_words(old), gradients[name]):
                    raise ValueError(f'there is no "{old}" in the gradient {gradients[name]}')
            new[name] = _edited(name, edit, gradients)
    return new


def _edited(name: str, edit: Edit, gradients: Mapping[str, str]) -> str:
    if not isinstance(edit, str):
        longest_first = sorted(edit, key=len, reverse=True)
        pattern = "|".join(_words(old) for old in longest_first)
        return re.sub(pattern, lambda found: edit[found[0]], gradients[name])

    def meant(found: re.Match[str]) -> str:
        asked = found[1] or name
        if asked not in gradients:
            raise ValueError(
                f"{found[0]} stands for the gradient of {asked}, which is not an input"
            )
        return _operand(gradients[asked])

    return re.sub(r"\b_(\w*)", meant, edit)


def _words(old: str) -> str:
    """Return a pattern that finds the text, but not inside a longer name or number."""
    before = r"(?<!\w)" if re.match(r"\w", old) else ""
    after = r"(?!\w)" if re.search(r"\w$", old) else ""
    return before + re.escape(old) + after


def _operand(expression: str) -> str:
    """Return an expression with brackets if it is a sum, so that it can be multiplied."""
    match ast.parse(expression, mode="eval").body:
        case ast.BinOp(op=ast.Add() | ast.Sub()) | ast.Compare():
            return f"({expression})"
    return expression


def _check_expression(stage: Stage, text: str) -> None:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise ValueError(f"{text} is not an expression") from None
    known = {
        *stage.inputs,
        *stage.outputs,
        *stage.upstreams,
        *stage.dimensions,
        *stage.where,
        *TORCH,
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known:
            raise ValueError(f"{node.id} means nothing in {text}")


def _has_several(stage: Stage) -> bool:
    """Return whether there can be several gradients, of which some are not needed."""
    several = any(stage.inputs[name].several for name in stage.differentiable)
    return several or len(stage.differentiable) > 1


def _variant(stage: Stage) -> str:
    return _VARIANTS[0] if stage.is_scalar else _VARIANTS[1]


def _fault_in(table: Mapping[str, Any]) -> str:
    """Return what is wrong with the keys and the kinds of values of an entry, if anything."""
    for key, value in table.items():
        if key not in _KEYS:
            return f"{key} is not a key of a mistake; the keys are {', '.join(_KEYS)}"
        of_strings = isinstance(value, list) and all(isinstance(each, str) for each in value)
        kinds = {_LIST: of_strings, _TEXT: isinstance(value, str)}
        kinds[_EITHER] = isinstance(value, str | dict)
        if not kinds.get(_KEYS[key], isinstance(value, dict)):
            return f"{key} must be {_KEYS[key]}"
        if key == "only" and value not in _ONLY:
            return f"only must be one of {', '.join(_ONLY)}"
        if key in _VARIANTS and (fault := _fault_in(value)):
            return f"{key}: {fault}"
    for name, edit in table.get("gradients", {}).items():
        texts = edit.values() if isinstance(edit, dict) else [edit]
        if not texts or not all(isinstance(text, str) for text in texts):
            return f"gradients.{name} must be an expression or a table of replacements"
    return ""
