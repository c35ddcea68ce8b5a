"""Check cases that students hand in: what they expose, and whether right backwards pass there."""

from __future__ import annotations

from harness.candidate import operations as ops
from harness.cases.exhibits import DetectiveContext
from harness.course.numbers import number, plural
from harness.course.report import GRADING
from harness.course.stage import Mistake, Stage
from harness.language import tr
from harness.probes.context import Errored, Failed, Waits, for_staff, in_words


def formulas(stage: Stage, wrong: Mistake) -> str:
    """Return the wrong gradients as they are written; that of a target only if it is alone."""
    told = {name: each for name, each in wrong.gradients.items() if name not in stage.optional}
    pairs = (told or wrong.gradients).items()
    return ", ".join(f"∂C/∂{name} = {each}" for name, each in pairs)


def usable(context: DetectiveContext) -> None:
    """Check that there are cases, not too many, and that each can be used."""
    detective, reply = context.detective, context.reply
    if isinstance(reply, ops.Trouble):
        said, detail = in_words(detective.name, reply)
        kind = Failed if isinstance(reply, ops.Absent) else Errored
        raise kind(said, detail, staff=for_staff(reply))
    assert isinstance(reply, ops.Collected)
    if not reply.cases:
        raise Failed(tr("{name} returns no case.").format(name=detective.name))
    if faults := [each for each in context.read if isinstance(each, str)]:
        raise Failed(faults[0], staff=" ".join(faults))
    if context.too_many:
        text = tr("{name} returns more than {cases}: the first {most} count.")
        most = detective.cases
        raise Failed(text.format(name=detective.name, cases=plural(most, "case"), most=most))


def fair(context: DetectiveContext) -> None:
    """Check that a right backward passes at each case."""
    if not context.exhibits:
        raise Waits(f"{context.detective.slug}/cases")
    for each in context.exhibits:
        if each.unfair:
            where = tr("Case {number} makes a right backward fail, so it exposes nothing.")
            staff = f"Case {each.number}: {each.unfair}"
            raise Failed(where.format(number=each.number), each.unfair, staff=staff)


def exposed(context: DetectiveContext, wrong: Mistake | None, *, shown: bool) -> str:
    """Check that some case exposes a wrong backward; return which one, and how, if it is shown."""
    detective = context.detective
    fair_ones = [each for each in context.exhibits if not each.unfair]
    if not fair_ones:
        raise Waits(f"{detective.slug}/{'right' if context.exhibits else 'cases'}")
    if wrong is None:
        raise Waits(GRADING)
    if found := context.exposure(wrong.gradients):
        at, trouble = found
        text = tr("Case {number} exposes it: {trouble}.")
        return text.format(number=at, trouble=trouble) if shown else ""
    where = tr("This backward passes in the only case that counts.")
    if len(fair_ones) > 1:
        where = tr("This backward passes in all {count} cases that count.")
    name, right = next(iter(fair_ones[0].right.items()))
    detail = ""
    if shown and right.numel() == 1 and name in wrong.gradients:
        text = tr("In case {number} it returns the right ∂C/∂{name}, {value}.")
        at, value = fair_ones[0].number, number(float(right))
        detail = text.format(number=at, name=name, value=value)
    raise Failed(
        where.format(count=len(fair_ones)),
        detail,
        staff=f"{formulas(detective.stage, wrong)} is not exposed.",
    )
