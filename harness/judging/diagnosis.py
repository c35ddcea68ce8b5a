"""Which formula a student wrote for each wrong gradient, read from what their backward returned.

Nothing is asked of a stage whose gradients are right. Where one is wrong, the answers already
given say which formulas fit them, and fresh inputs, asked about once, which of those hold.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import torch
from torch import Tensor

from harness.candidate.operations import Output, Returns
from harness.course.report import Diagnosis
from harness.course.settings import Settings
from harness.formulas.identify import Found, formulas_for, found_of
from harness.formulas.known import known_formulas
from harness.formulas.limits import near_limits
from harness.formulas.notation import BEHAVES, RIGHT, as_written, plain
from harness.formulas.observed import observed
from harness.formulas.same import value_of
from harness.formulas.samples import EXACT, Sample, reproduces, same_values
from harness.probes.cases import NEAR_LIMITS, Case, case_of, fresh_cases, more_numbers
from harness.probes.context import Answer, Bench

# How many formulas are tried at fresh inputs.
TRIES = 12
# What is larger than any gradient of these sizes, or has more axes, is no formula's.
MOST_ENTRIES, MOST_AXES = 50_000, 6
NOTHING = (
    "none-returned",
    "None means that C does not depend on it at all. Does C stay as it is when it moves?",
)
WRAPPED = (
    "more-axes",
    "Count the axes of what you return, and those of the input that it is the gradient of.",
)


@dataclass(frozen=True)
class Reading:
    """What is known of a wrong gradient: its formula, or a sentence on it, or neither."""

    diagnosis: Diagnosis | None = None
    observation: str = ""

    def told(self, bench: Bench, settings: Settings) -> str:
        """What a student reads of it at the assignment's level of feedback."""
        if self.diagnosis is None:
            return self.observation if settings.shows("hint") else ""
        said: list[str] = []
        name = self.diagnosis.gradient.removeprefix("grad_")
        if settings.shows("formula") and self.diagnosis.formula != "None":
            formula = plain(as_written(bench.stage, self.diagnosis.formula))
            said.append(f"Your ∂C/∂{name} {BEHAVES.format(formula)}")
        if settings.shows("hint"):
            said.append(self.diagnosis.hint)
        if settings.shows("solution"):
            right = plain(as_written(bench.stage, self.diagnosis.expected))
            said.append(RIGHT.format(right))
        return " ".join(said)


@dataclass(frozen=True)
class Column:
    """What came back for one input: nothing in every call, or a tensor in every call."""

    samples: tuple[Sample, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether backward returned None each time."""
        return not self.samples

    def gives(self, bench: Bench, expression: str) -> bool:
        """Whether the expression gives what came back."""
        if self.is_none or expression == "None":
            return self.is_none and expression == "None"
        return reproduces(bench.stage, expression, self.samples, 3 * EXACT)


def readings(bench: Bench, names: Sequence[str]) -> dict[str, Reading]:
    """What is known of the wrong gradients for the inputs ``names``; all have been asked about."""
    told = {name: _column(bench, name, bench.cases, bench.answers) for name in bench.stage.inputs}
    asked = (bench.cases[0], *fresh_cases(bench.stage, bench.seed, bench.sizes[0]))
    answers = bench.ask(asked)
    found: dict[str, Reading] = {}
    for name in names:
        column, later = told[name], _column(bench, name, asked, answers)
        if column is not None and later is not None:
            found[name] = _read(bench, name, column, later, told)
    return found


def _column(
    bench: Bench, name: str, cases: Sequence[Case], answers: Sequence[Answer]
) -> Column | None:
    """What came back for input ``name``; None where it is not always of one kind, or no number."""
    at = tuple(bench.stage.inputs).index(name)
    samples: list[Sample] = []
    nothing = 0
    for case, answer in zip(cases, answers, strict=True):
        for upstream, reply in zip(case.upstreams, answer.returns, strict=True):
            if not isinstance(reply, Returns) or at >= len(reply.values):
                return None
            value, output = reply.values[at], _tensor(answer.output)
            nothing += value is None
            if isinstance(value, Tensor) and _can_be_read(value) and output is not None:
                got = value.detach().double()
                samples.append(Sample(case.inputs, output, upstream, got))
    asked = sum(len(case.upstreams) for case in cases)
    if nothing == asked:
        return Column()
    return Column(tuple(samples)) if len(samples) == asked else None


def _can_be_read(value: Tensor) -> bool:
    """Whether there are plain numbers in it, and no more than a formula would be looked for in."""
    plain_numbers = value.layout == torch.strided and value.device.type == "cpu"
    small = value.numel() <= MOST_ENTRIES and value.dim() <= MOST_AXES
    return plain_numbers and small and not value.is_complex()


def _tensor(reply: object) -> Tensor | None:
    """The output that forward returned, where it can be read."""
    value = reply.value if isinstance(reply, Output) else None
    return value if isinstance(value, Tensor) and _can_be_read(value) else None


def _read(
    bench: Bench, name: str, column: Column, later: Column, told: Mapping[str, Column | None]
) -> Reading:
    first = len(bench.cases[0].upstreams)
    pairs = zip(column.samples[:first], later.samples[:first], strict=False)
    if not all(same_values(one.got, other.got, EXACT) for one, other in pairs):
        return Reading(observation="The same question gets another answer the second time.")
    diagnosis = _diagnosis(bench, name, column, later, told)
    if diagnosis is None and bench.stage.is_scalar:
        # Few numbers leave much open: where a limit lies, or what a sum is made of.
        cases = more_numbers(bench.stage, bench.seed)
        more = _column(bench, name, cases, bench.ask(cases))
        if more is not None and not more.is_none:
            more = Column(column.samples + more.samples)
            diagnosis = _diagnosis(bench, name, more, later, told)
    if diagnosis or column.is_none or later.is_none:
        return Reading(diagnosis)
    return Reading(observation=observed(bench.stage, name, column.samples))


def _diagnosis(
    bench: Bench, name: str, column: Column, later: Column, told: Mapping[str, Column | None]
) -> Diagnosis | None:
    """The first formula that fits what came back, also later, and goes with the rest."""
    for formula in islice(_formulas(bench, name, column), TRIES):
        holds = later.gives(bench, formula.expression) and _goes_with(bench, formula, told)
        if holds and _holds_near_limits(bench, name, formula.expression):
            expected = bench.stage.gradients[name]
            return Diagnosis(
                f"grad_{name}", formula.mistake, formula.expression, expected, formula.hint
            )
    return None


def _holds_near_limits(bench: Bench, name: str, expression: str) -> bool:
    """Whether a formula that compares or clips gives what comes back close to its numbers."""
    if expression == "None":
        return True
    first = bench.cases[0]
    cases = [
        case_of(bench.stage, bench.seed, first.sizes, NEAR_LIMITS, inputs, (upstream,))
        for inputs, upstream in near_limits(
            bench.stage, expression, (first.inputs, first.upstreams[0])
        )
    ]
    if not cases:
        return True
    column = _column(bench, name, cases, bench.ask(cases))
    return column is not None and column.gives(bench, expression)


def _goes_with(bench: Bench, formula: Found, told: Mapping[str, Column | None]) -> bool:
    """Whether the output and the other gradients are as the formula's mistake has them."""
    if formula.forward and not _comes_forward(bench, formula.forward):
        return False
    columns = ((told[name], expression) for name, expression in formula.with_it)
    return all(column is not None and column.gives(bench, text) for column, text in columns)


def _comes_forward(bench: Bench, expression: str) -> bool:
    for case, reply in bench.outputs_one_by_one():
        value = value_of(bench.stage, expression, case.inputs, case.upstreams[0])
        output = _tensor(reply)
        if value is None or output is None or not same_values(value, output.detach(), EXACT):
            return False
    return True


def _formulas(bench: Bench, name: str, column: Column) -> Iterator[Found]:
    if column.is_none:
        for known in known_formulas(bench.stage, name):
            if known.expression == "None":
                yield found_of(known)
        yield Found("None", *NOTHING)
        return
    diagonals = _diagonals(bench, name, column)
    if diagonals:
        yield from _wrapped(bench, name, "diag_embed({})", diagonals)
        return
    yield from formulas_for(bench.stage, name, column.samples)
    for pattern, bare in _unwrapped(bench, name, column):
        yield from _wrapped(bench, name, pattern, bare)


def _wrapped(bench: Bench, name: str, pattern: str, samples: tuple[Sample, ...]) -> Iterator[Found]:
    """Formulas for what stands inside the pattern."""
    true = bench.stage.gradients[name]
    whole = [Found(true, *WRAPPED)] if reproduces(bench.stage, true, samples) else []
    for formula in chain(whole, formulas_for(bench.stage, name, samples)):
        text = ast.unparse(ast.parse(pattern.format(formula.expression), mode="eval"))
        yield replace(formula, expression=text)


def _diagonals(bench: Bench, name: str, column: Column) -> tuple[Sample, ...]:
    """What stands in the diagonals of what came back, where nothing stands beside them."""
    at = tuple(bench.stage.inputs).index(name)
    got = [sample.got for sample in column.samples]
    if any(sample.got.dim() != sample.inputs[at].dim() + 1 for sample in column.samples):
        return ()
    if any(value.dim() < 2 or value.shape[-1] != value.shape[-2] for value in got):
        return ()
    inner = [value.diagonal(dim1=-2, dim2=-1) for value in got]
    return _with(column, inner) if all(map(torch.equal, map(torch.diag_embed, inner), got)) else ()


def _unwrapped(bench: Bench, name: str, column: Column) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    """What came back without axes that it has beyond its input's, and how they come about."""
    at = tuple(bench.stage.inputs).index(name)
    got = [sample.got for sample in column.samples]
    extra = min(sample.got.dim() - sample.inputs[at].dim() for sample in column.samples)
    if extra <= 0:
        return
    if all(set(value.shape[:extra]) == {1} for value in got):
        # Torch drops them.
        bare = [value.reshape(value.shape[extra:]) for value in got]
        yield f"({{}})[{', '.join(['None'] * extra)}]", _with(column, bare)
    if all(set(value.shape[-extra:]) == {1} for value in got):
        bare = [value.reshape(value.shape[:-extra]) for value in got]
        yield f"({{}})[..., {', '.join(['None'] * extra)}]", _with(column, bare)


def _with(column: Column, values: Sequence[Tensor]) -> tuple[Sample, ...]:
    pairs = zip(column.samples, values, strict=True)
    return tuple(replace(sample, got=value) for sample, value in pairs)
