"""A course's own catalogue: mistakes and hints that add to those known, or replace them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.course.stage import Stage
from harness.errors import UserError
from harness.mistakes.catalogue import Entry, load
from harness.updates import Optimizer
from harness.updates.edits import fault_in, fits

# What makes an entry a mistake of a stage, and one of an optimizer; others give a hint only.
_OF_STAGES, _OF_OPTIMIZERS = {"gradients", "forward", "code"}, {"replace", "habit"}


def with_own_mistakes(
    path: Path, stages: Sequence[Stage], optimizers: Sequence[Optimizer]
) -> tuple[tuple[Stage, ...], tuple[Optimizer, ...]]:
    """Return stages and optimizers with the mistakes and hints of a catalogue.

    An entry is for all stages that it fits, or for those listed in its ``stages``. Raise UserError
    if the file cannot be used, or an entry fits nothing.
    """
    entries = load(path)
    names = {*(each.name for each in stages), *(each.name for each in optimizers)}
    fit = {each.name: False for each in entries.values()}
    of_stages = tuple(_with(stage, [*entries.values()], fit) for stage in stages)
    tables = {
        each.name: each.table
        for each in entries.values()
        if {*each.table} & _OF_OPTIMIZERS or not {*each.table} & _OF_STAGES
    }
    for entry in entries.values():
        if unknown := sorted({*entry.table.get("stages", ())} - names):
            raise UserError(
                f"{path}, [{entry.name}]: there is no stage {unknown[0]}; there are "
                f"{', '.join(sorted(names))}."
            )
        if {*entry.table} & _OF_STAGES and not fit[entry.name]:
            raise UserError(f"{path}, [{entry.name}]: it fits none of the stages.")
        if {*entry.table} & _OF_OPTIMIZERS:
            if fault := fault_in(entry.table):
                raise UserError(f"{path}, [{entry.name}]: {fault}.")
            if not any(fits(each, entry.table) for each in optimizers):
                raise UserError(f"{path}, [{entry.name}]: it fits none of the optimizers.")
    return of_stages, tuple(replace(each, catalogue=_for(each.name, tables)) for each in optimizers)


def _for(name: str, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {key: each for key, each in tables.items() if name in each.get("stages", [name])}


def _with(stage: Stage, entries: Sequence[Entry], fit: dict[str, bool]) -> Stage:
    """Return a stage with the mistakes that fit it, and all hints; note what fits."""
    mine = [each for each in entries if stage.name in each.table.get("stages", [stage.name])]
    mistakes = {each.name: each for each in stage.mistakes}
    for entry in mine:
        if not {*entry.table} & _OF_STAGES or not entry.belongs_to(stage):
            continue
        try:
            found = entry.mistake_in(stage)
        except UserError:
            # Said to be for this stage, it has to fit.
            if "stages" in entry.table:
                raise
            continue
        if found:
            mistakes[entry.name] = found
            fit[entry.name] = True
    hints = {each.name: each.table["hint"] for each in mine}
    return replace(stage, mistakes=tuple(mistakes.values()), hints={**stage.hints, **hints})
