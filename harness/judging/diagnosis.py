"""Find which formula a student wrote for each wrong gradient, from what backward returned.

Nothing is asked of a stage whose gradients are right. Where one is wrong, the answers already
given show which formulas fit them, and fresh inputs, asked about once, which of those hold.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice

import torch
from torch import Tensor

from harness.candidate.operations import Output, Returns
from harness.cases.cases import NEAR_LIMITS, Case, case_of, fresh_cases, more_numbers
from harness.course.report import Diagnosis
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.expressions.limits import near_limits
from harness.expressions.notation import BEHAVES, RIGHT, as_written, plain
from harness.formulas.identify import formulas_for
from harness.formulas.known import NamedFormula, known_formulas
from harness.formulas.observed import observed
from harness.formulas.same import close, value_of
from harness.formulas.samples import EXACT, Sample, reproduces, same_values
from harness.language import tr
from harness.probes.context import Call, StageContext

# How many formulas are tried at fresh inputs.
TRIES = 12
# Beyond so many characters nobody reads a formula.
LONGEST = 80
# A value that is larger than any gradient of these sizes, or has more axes, fits no formula.
MOST_ENTRIES, MOST_AXES = 50_000, 6
NOTHING, OR_MISSING = (
    tr("None means: C does not change with it."),
    tr(" A missing return gives None too; .grad is not read."),
)
COUNTS = {2: tr("Two"), 3: tr("Three"), 4: tr("Four")}
WRAPPED = (
    "more-axes",
    tr("Count the axes of what you return, and those of the input that it is the gradient of."),
)


@dataclass(frozen=True)
class Reading:
    """What is known of a wrong gradient: its formula, or a sentence on it, or neither."""

    diagnosis: Diagnosis | None = None
    observation: str = ""

    def message(self, stage: Stage, settings: Settings) -> str:
        """Return what a student reads of it at the assignment's level of feedback."""
        if self.diagnosis is None:
            return self.observation if settings.shows("hint") else ""
        said: list[str] = []
        name = self.diagnosis.gradient.removeprefix("grad_")
        if settings.shows("formula") and self.diagnosis.formula != "None":
            formula = plain(as_written(stage, self.diagnosis.formula))
            behaves = tr(BEHAVES).format(formula)
            said.append(tr("Your ∂C/∂{name} {behaves}").format(name=name, behaves=behaves))
            if stage.pair and re.search(r"\bg\b", self.diagnosis.formula):
                said.append(tr("Here g is dout."))
        if settings.shows("hint"):
            said.append(self.diagnosis.hint)
        if settings.shows("solution") and self.diagnosis.expected:
            said.append(tr(RIGHT).format(plain(as_written(stage, self.diagnosis.expected))))
        return " ".join(said)


@dataclass(frozen=True)
class Column:
    """The returns for one input: a tensor in every call, or, without samples, always None."""

    samples: tuple[Sample, ...] = ()

    @property
    def is_none(self) -> bool:
        """True if backward returned None every time."""
        return not self.samples

    def matches(self, context: StageContext, expression: str) -> bool:
        """Return whether the expression gives what was returned."""
        if self.is_none or expression == "None":
            return self.is_none and expression == "None"
        return reproduces(context.stage, expression, self.samples, 3 * EXACT)


Columns = Mapping[str, Column | None]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch use one thread: to share out small tensors takes longer than to work on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def readings(context: StageContext, names: Sequence[str]) -> dict[str, Reading]:
    """Return what is known of the wrong gradients for the inputs ``names``.

    The candidate has answered all cases already.
    """
    calls = list(context.calls)
    columns = {name: _column(context, name, calls) for name in context.stage.differentiable}
    fresh = fresh_cases(context.stage, context.seed, context.stage.sizes[0])
    again = context.ask((context.cases[0], *fresh))
    found: dict[str, Reading] = {}
    for name in names:
        column, later = columns[name], _column(context, name, again)
        if column is not None and later is not None:
            found[name] = _read(context, name, column, later, columns)
    return found


def _column(context: StageContext, name: str, calls: Sequence[Call]) -> Column | None:
    """Return what came back for input ``name``, or None if it is mixed or cannot be read."""
    at = context.stage.position(name)
    samples: list[Sample] = []
    nothing = 0
    # An optional tensor that is not there has no gradient.
    calls = [call for call in calls if call.case.inputs[at] is not None]
    if not calls or context.stage.inputs[name].several:
        return None
    for call in calls:
        # Of too few, nobody knows which is which.
        inputs = len(call.case.inputs)
        if not isinstance(call.backward, Returns) or len(call.backward.values) < inputs:
            return None
        value, outputs = call.backward.values[at], _outputs(call)
        nothing += value is None
        if isinstance(value, Tensor) and _can_be_read(value) and outputs:
            got = value.detach().double()
            samples.append(Sample(call.case.inputs, outputs, call.upstream, got))
    if nothing == len(calls):
        return Column()
    return Column(tuple(samples)) if len(samples) == len(calls) else None


def _can_be_read(value: Tensor) -> bool:
    """Return whether it holds plain numbers, few enough to look for a formula."""
    plain_numbers = value.layout == torch.strided and value.device.type == "cpu"
    small = value.numel() <= MOST_ENTRIES and value.dim() <= MOST_AXES
    return plain_numbers and small and not value.is_complex()


def _outputs(call: Call) -> tuple[Tensor, ...]:
    """Return the outputs of forward if they can be read.

    Right ones are the reference's, so that they equal what an expression works out in its way.
    """
    found, right = _tensors(call.forward), call.case.outputs
    same = len(found) == len(right) and all(map(close, found, right))
    return right if same else found


def _tensors(reply: object) -> tuple[Tensor, ...]:
    """Return the outputs of forward if they can be read."""
    values = reply.values if isinstance(reply, Output) else ()
    found = tuple(each for each in values if isinstance(each, Tensor) and _can_be_read(each))
    return found if len(found) == len(values) else ()


def _read(
    context: StageContext, name: str, column: Column, later: Column, columns: Columns
) -> Reading:
    first = len(context.cases[0].upstreams)
    pairs = zip(column.samples[:first], later.samples[:first], strict=False)
    if not all(same_values(one.got, other.got, EXACT) for one, other in pairs):
        return Reading(observation=tr("The same question gets another answer the second time."))
    diagnosis = _diagnosis(context, name, column, later, columns)
    if diagnosis is None and context.stage.is_scalar:
        # Few numbers leave much open: where a limit lies, or what a sum is made of.
        cases = more_numbers(context.stage, context.seed, {})
        more = _column(context, name, context.ask(cases))
        if more is not None and not more.is_none:
            more = Column(column.samples + more.samples)
            diagnosis = _diagnosis(context, name, more, later, columns)
    if diagnosis or column.is_none or later.is_none:
        return Reading(diagnosis)
    return Reading(observation=observed(context.stage, name, column.samples))


def _diagnosis(
    context: StageContext, name: str, column: Column, later: Column, columns: Columns
) -> Diagnosis | None:
    """Return the first formula that fits what came back, also later, and agrees with the rest."""
    short = (each for each in _formulas(context, name, column) if len(each.expression) <= LONGEST)
    for formula in islice(short, TRIES):
        holds = later.matches(context, formula.expression) and _goes_with(context, formula, columns)
        if holds and _holds_near_limits(context, name, formula.expression):
            written, expected = (
                _as_students_have_it(context, text)
                for text in (formula.expression, context.stage.gradients.get(name, ""))
            )
            also = tuple(mistake for mistake, _ in formula.also)
            hint = _asked(context.stage, name, formula)
            return Diagnosis(f"grad_{name}", formula.mistake, written, expected, hint, also)
    return None


def _asked(stage: Stage, name: str, formula: NamedFormula) -> str:
    """Return what to ask about each mistake in a formula for input ``name``."""

    def hint(mistake: str, known: str) -> str:
        return tr(stage.hints.get(mistake, known)).replace("{input}", name)

    first = hint(formula.mistake, formula.hint)
    if formula.instead:
        other = hint(*formula.instead)
        first = tr("{hint} If the returns are in order, look at the sign. {other}").format(
            hint=first, other=other
        )
    hints = list(dict.fromkeys((first, *(hint(*each) for each in formula.also))))
    if len(hints) == 1:
        return first
    numbered = (
        tr("{number}. {hint}").format(number=at, hint=each) for at, each in enumerate(hints, 1)
    )
    return tr("{count} things are wrong. {hints}").format(
        count=COUNTS[len(hints)], hints=" ".join(numbered)
    )


def _as_students_have_it(context: StageContext, expression: str) -> str:
    """Return an expression without the upstream, where students know of none: it is 1."""
    if context.stage.has_upstream or not expression:
        return expression
    tree = _WithoutUpstream().visit(ast.parse(expression, mode="eval"))
    return expression if "g" in _names_of(tree) else ast.unparse(tree)


def _names_of(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _WithoutUpstream(ast.NodeTransformer):
    """Takes away the factor ``g``, also with a sign."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult):
            match node.left:
                case ast.Name("g"):
                    return node.right
                case ast.UnaryOp(op, ast.Name("g")):
                    return ast.UnaryOp(op, node.right)
            if isinstance(node.right, ast.Name) and node.right.id == "g":
                return node.left
        return node


def _holds_near_limits(context: StageContext, name: str, expression: str) -> bool:
    """Return whether a formula that compares or clips gives what comes back near its limits."""
    if expression == "None":
        return True
    first, stage = context.cases[0], context.stage
    # A recorded stage knows no answers there; the candidate's are what counts.
    cases = [
        Case(context.seed, first.sizes, NEAR_LIMITS, inputs, (upstream,), (), ())
        if stage.recorded
        else case_of(stage, context.seed, first.sizes, NEAR_LIMITS, inputs, (upstream,))
        for inputs, upstream in near_limits(stage, expression, (first.inputs, first.upstreams[0]))
    ]
    if not cases:
        return True
    column = _column(context, name, context.ask(cases))
    return column is not None and column.matches(context, expression)


def _goes_with(context: StageContext, formula: NamedFormula, columns: Columns) -> bool:
    """Return whether the output and the other gradients are as the formula's mistake has them."""
    if formula.forward and not _matches_output(context, formula.forward):
        return False
    pairs = ((columns[name], expression) for name, expression in formula.with_it)
    return all(column is not None and column.matches(context, text) for column, text in pairs)


def _matches_output(context: StageContext, expression: str) -> bool:
    for case, reply in context.outputs_one_by_one:
        value = value_of(context.stage, expression, case.inputs, case.upstreams[0])
        outputs = _tensors(reply)
        if value is None or not outputs or not same_values(value, outputs[0].detach(), EXACT):
            return False
    return True


def _formulas(context: StageContext, name: str, column: Column) -> Iterator[NamedFormula]:
    if column.is_none:
        for known in known_formulas(context.stage, name):
            if known.expression == "None":
                yield known
        hint = NOTHING + OR_MISSING * (not context.stage.pair)
        yield NamedFormula("None", "none-returned", hint)
        return
    if diagonals := _diagonals(context, name, column):
        yield from _wrapped(context, name, "diag_embed({})", diagonals)
        return
    yield from formulas_for(context.stage, name, column.samples)
    for pattern, bare in _unwrapped(context, name, column):
        yield from _wrapped(context, name, pattern, bare)


def _wrapped(
    context: StageContext, name: str, pattern: str, samples: tuple[Sample, ...]
) -> Iterator[NamedFormula]:
    """Yield formulas for what stands inside the pattern."""
    true = context.stage.gradients.get(name)
    is_whole = true and reproduces(context.stage, true, samples)
    whole = [NamedFormula(true, *WRAPPED)] if true and is_whole else []
    for formula in chain(whole, formulas_for(context.stage, name, samples)):
        text = ast.unparse(ast.parse(pattern.format(formula.expression), mode="eval"))
        yield replace(formula, expression=text)


def _diagonals(context: StageContext, name: str, column: Column) -> tuple[Sample, ...]:
    """Return the diagonals of what came back, if all else in it is zero."""
    at = context.stage.position(name)
    got = [sample.got for sample in column.samples]
    if any(_more_axes(sample, at) != 1 for sample in column.samples):
        return ()
    if any(value.dim() < 2 or value.shape[-1] != value.shape[-2] for value in got):
        return ()
    inner = [value.diagonal(dim1=-2, dim2=-1) for value in got]
    return _with(column, inner) if all(map(torch.equal, map(torch.diag_embed, inner), got)) else ()


def _more_axes(sample: Sample, at: int) -> int:
    """Return how many more axes than its input a return has."""
    given = sample.inputs[at]
    return sample.got.dim() - given.dim() if isinstance(given, Tensor) else 0


def _unwrapped(
    context: StageContext, name: str, column: Column
) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    """Yield what came back without the axes that its input does not have, and their pattern."""
    at = context.stage.position(name)
    got = [sample.got for sample in column.samples]
    extra = min(_more_axes(sample, at) for sample in column.samples)
    if extra <= 0:
        return
    if all(set(value.shape[:extra]) == {1} for value in got):
        # torch drops them.
        bare = [value.reshape(value.shape[extra:]) for value in got]
        yield f"({{}})[{', '.join(['None'] * extra)}]", _with(column, bare)
    if all(set(value.shape[-extra:]) == {1} for value in got):
        bare = [value.reshape(value.shape[:-extra]) for value in got]
        yield f"({{}})[..., {', '.join(['None'] * extra)}]", _with(column, bare)


def _with(column: Column, values: Sequence[Tensor]) -> tuple[Sample, ...]:
    pairs = zip(column.samples, values, strict=True)
    return tuple(replace(sample, got=value) for sample, value in pairs)
