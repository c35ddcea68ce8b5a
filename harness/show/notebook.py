"""A report as a notebook's HTML: the verdict, the chain with its wrong edges, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from harness.course.numbers import TO_RUN, plural
from harness.course.report import Report
from harness.drawing.chain import chain_picture
from harness.drawing.visible import visible
from harness.expressions.notation import BEHAVES, RIGHT, Formula, as_written, plain
from harness.language import tr
from harness.show.outline import MARKS, Finding, Part, advice, next_step, parts, verdict
from harness.show.trained import accuracy_line, training_pictures

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage
    from harness.training.task import Run

# A picture that is wider than this has more room than others.
WIDE = 520


def report_html(
    report: Report, assignment: Assignment, run: Run | None = None, reference: Run | None = None
) -> str:
    """Return the report for a student, as a self-contained piece of HTML without scripts.

    It draws the chain if the report judges an edge of it and, after a training, the costs of
    ``run`` beside those of ``reference``, the network's answers for some samples, and the
    sensitivity of the cost to each parameter. Messages are text, never markup.
    """
    said = parts(report)
    blocks = [
        f"<style>\n{_style()}</style>",
        _paragraph(verdict(report), "bph-verdict"),
        _bar(report),
        _chain(report, assignment),
        _valleys(report, assignment),
        *(_findings(part, assignment) for part in said),
        _training(run, reference, assignment) if run else "",
        _waiting(said),
        _passed(said),
        _advice(advice(report)),
        _paragraph(f"→ {next_step(report)}", "bph-next"),
    ]
    return f'<div class="bph-report">{"".join(blocks)}</div>'


@cache
def _style() -> str:
    return resources.files("harness.show").joinpath("report.css").read_text(encoding="utf-8")


def _bar(report: Report) -> str:
    if not report.max_score:
        return ""
    share = min(max(100 * report.score / report.max_score, 0.0), 100.0)
    return (
        f'<div class="bph-bar" aria-hidden="true"><span style="width: {share:.1f}%"></span></div>'
    )


def _chain(report: Report, assignment: Assignment) -> str:
    if not any("/gradient/" in check.id for check in report.checks):
        return ""
    drawn = chain_picture(assignment, report)
    wide = f' style="max-width: {drawn.width:.0f}px"' if drawn.width > WIDE else ""
    return f'<div class="bph-picture"{wide}>{drawn.html}</div>'


def _valleys(report: Report, assignment: Assignment) -> str:
    if not assignment.optimizers:
        return ""
    # It needs torch, which a report does without.
    from harness.drawing.valley import valley_pictures

    drawn = valley_pictures(assignment.optimizers, report)
    pictures = "".join(f'<div class="bph-picture">{each.svg}</div>' for each in drawn)
    return f'<div class="bph-pictures">{pictures}</div>' if pictures else ""


def _findings(part: Part, assignment: Assignment) -> str:
    if not part.findings:
        return ""
    stage = next((each for each in assignment.stages if each.name == part.title), None)
    told = "".join(_finding(finding, stage) for finding in part.findings)
    return f"<p><strong>{escape(part.title)}</strong></p>{told}"


def _finding(finding: Finding, stage: Stage | None) -> str:
    mark = f'<span class="bph-mark">{MARKS[finding.outcome]}</span>'
    message = escape(finding.message)
    if stage and (diagnosis := finding.diagnosis):
        for phrase, expression in (
            (tr(BEHAVES), diagnosis.formula),
            (tr(RIGHT), diagnosis.expected),
        ):
            if expression:
                formula = as_written(stage, expression)
                told = escape(phrase.format(plain(formula)))
                message = message.replace(told, phrase.format(formula_html(formula)))
    message, run, line = message.partition(f" {escape(tr(TO_RUN))}\n")
    if run:
        message += f"<details><summary>{run.strip()}</summary><code>{line}</code></details>"
    labels = f"<strong>{escape(finding.labels)}</strong>"
    kind = " bph-passed" if finding.outcome == "passed" else ""
    return f'<div class="bph-finding{kind}">{mark} {labels}: {message}</div>'


_PLACES = {"line": "{}", "above": "<sup>{}</sup>", "below": "<sub>{}</sub>"}


def formula_html(formula: Formula) -> str:
    """Return a formula as HTML: names in italics, indices below and powers above the line."""
    texts = ((piece, escape(visible(piece.text))) for piece in formula)
    pieces = (
        _PLACES[piece.place].format(f"<i>{text}</i>" if piece.leans else text)
        for piece, text in texts
    )
    return f'<span class="bph-formula">{"".join(pieces)}</span>'


def _training(run: Run, reference: Run | None, assignment: Assignment) -> str:
    assert assignment.task is not None
    pictures = training_pictures(assignment.task, run, reference)
    drawn = "".join(f'<div class="bph-picture">{each.svg}</div>' for each in pictures)
    return _paragraph(accuracy_line(run, reference)) + f'<div class="bph-pictures">{drawn}</div>'


def _waiting(said: Sequence[Part]) -> str:
    waiting = sum(max(len(wait.labels), 1) for part in said for wait in part.waits)
    lines = [f"{part.title} {wait}" for part in said for wait in part.waits]
    made = tr("{checks} not made yet").format(checks=plural(waiting, "check"))
    return _folded(f"{MARKS['not_run']} {made}", lines)


def _passed(said: Sequence[Part]) -> str:
    passed = sum(len(part.passed) for part in said)
    lines = [f"{part.title}: {', '.join(part.passed)}" for part in said if part.passed]
    return _folded(f"{MARKS['passed']} {plural(passed, 'check')} passed", lines)


def _advice(found: Sequence[str]) -> str:
    if not found:
        return ""
    heading = f"<strong>{escape(tr('Worth knowing'))}</strong> {escape(tr('(no points lost)'))}"
    return f"<p>{heading}</p>{_list(found)}"


def _folded(summary: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<details><summary>{escape(summary)}</summary>{_list(lines)}</details>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _paragraph(text: str, name: str = "") -> str:
    attribute = f' class="{name}"' if name else ""
    return f"<p{attribute}>{escape(text)}</p>"
