"""A report as a notebook's HTML: the verdict, the chain with its wrong edges, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from harness.course.report import Report
from harness.formulas.notation import BEHAVES, RIGHT, Formula, as_written, plain
from harness.show.chain import chain_picture
from harness.show.outline import MARKS, Finding, Part, advice, next_step, parts, verdict
from harness.show.svg import BAD
from harness.show.trained import accuracy_line, training_pictures
from harness.show.visible import visible

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage
    from harness.training.task import Run

_STYLE = f"""
.bph-report {{ font: inherit; color: inherit; max-width: 46em; line-height: 1.45; }}
.bph-report p, .bph-report ul {{ margin: 0.35em 0; }}
.bph-report ul {{ padding-left: 1.2em; }}
.bph-report .bph-verdict {{ font-size: 1.15em; font-weight: 600; }}
.bph-report .bph-bar {{ border: 1px solid; border-radius: 0.3em;
  max-width: 28em; margin: 0.35em 0 0.7em; }}
.bph-report .bph-bar span {{ display: block; border-top: 0.5em solid; border-radius: 0.2em; }}
.bph-report .bph-picture {{ max-width: 30em; margin: 0.5em 0; }}
.bph-report .bph-pictures {{ display: flex; flex-wrap: wrap; gap: 0 1.5em; }}
.bph-report .bph-pictures .bph-picture {{ flex: 1 1 21em; }}
.bph-report .bph-finding {{ border-left: 3px solid {BAD}; padding: 0.1em 0 0.1em 0.7em;
  margin: 0.4em 0; overflow-wrap: anywhere; white-space: pre-line; }}
.bph-report .bph-formula {{ font-family: "STIX Two Math", "Cambria Math", serif;
  font-size: 1.1em; white-space: nowrap; }}
.bph-report .bph-formula sub, .bph-report .bph-formula sup {{ line-height: 0; }}
.bph-report .bph-mark {{ font-weight: 700; color: {BAD}; }}
.bph-report details {{ margin: 0.35em 0; }}
.bph-report summary {{ cursor: pointer; }}
.bph-report .bph-next {{ font-weight: 600; border-top: 1px solid rgba(128, 128, 128, 0.5);
  padding-top: 0.4em; margin-top: 0.7em; }}
"""


def report_html(
    report: Report, assignment: Assignment, run: Run | None = None, reference: Run | None = None
) -> str:
    """The report for a student, as a piece of HTML that stands by itself and runs nothing.

    The picture of the chain is there where the report judges an edge of it. Where there was a
    training: the costs of ``run`` beside those of ``reference``, what the network says of some
    samples, and how much the cost feels each parameter. Messages are text, never markup.
    """
    said = parts(report)
    blocks = [
        f"<style>{_STYLE}</style>",
        _paragraph(verdict(report), "bph-verdict"),
        _bar(report),
        _chain(report, assignment),
        *(_findings(part, assignment) for part in said),
        _training(run, reference, assignment) if run else "",
        _waiting(said),
        _passed(said),
        _advice(advice(report)),
        _paragraph(f"→ {next_step(report)}", "bph-next"),
    ]
    return f'<div class="bph-report">{"".join(blocks)}</div>'


def _bar(report: Report) -> str:
    if not report.max_score:
        return ""
    share = min(max(100 * report.score / report.max_score, 0.0), 100.0)
    return (
        f'<div class="bph-bar" aria-hidden="true"><span style="width: {share:.1f}%"></span></div>'
    )


def _chain(report: Report, assignment: Assignment) -> str:
    if not assignment.chain or not any("/gradient/" in check.id for check in report.checks):
        return ""
    return f'<div class="bph-picture">{chain_picture(assignment, report).svg}</div>'


def _findings(part: Part, assignment: Assignment) -> str:
    if not part.findings:
        return ""
    stage = next((each for each in assignment.stages if each.name == part.title), None)
    told = "".join(_finding(finding, stage) for finding in part.findings)
    return f"<p><strong>{escape(part.title)}</strong></p>{told}"


def _finding(finding: Finding, stage: Stage | None) -> str:
    mark = f'<span class="bph-mark">{MARKS[finding.outcome]}</span>'
    labels = f"<strong>{escape(_listed(finding.labels))}</strong>"
    message = escape(finding.message)
    if stage and finding.diagnosis:
        for phrase, expression in (
            (BEHAVES, finding.diagnosis.formula),
            (RIGHT, finding.diagnosis.expected),
        ):
            message = _set(message, phrase, stage, expression)
    return f'<div class="bph-finding">{mark} {labels}: {message}</div>'


def _set(message: str, phrase: str, stage: Stage, expression: str) -> str:
    """The message with the formula in a phrase of it set as mathematics, if it is there."""
    if not expression:
        return message
    formula = as_written(stage, expression)
    told = escape(phrase.format(plain(formula)))
    return message.replace(told, phrase.format(formula_html(formula)))


_PLACES = {"line": "{}", "above": "<sup>{}</sup>", "below": "<sub>{}</sub>"}


def formula_html(formula: Formula) -> str:
    """A formula as HTML: names lean, indices and powers stand below and above the line."""
    pieces = (
        _PLACES[piece.place].format(
            f"<i>{escape(visible(piece.text))}</i>" if piece.leans else escape(visible(piece.text))
        )
        for piece in formula
    )
    return f'<span class="bph-formula">{"".join(pieces)}</span>'


def _training(run: Run, reference: Run | None, assignment: Assignment) -> str:
    pictures = training_pictures(assignment.task, run, reference)
    drawn = "".join(f'<div class="bph-picture">{each.svg}</div>' for each in pictures)
    return _paragraph(accuracy_line(run, reference)) + f'<div class="bph-pictures">{drawn}</div>'


def _waiting(said: Sequence[Part]) -> str:
    count = sum(max(len(wait.labels), 1) for part in said for wait in part.waits)
    if not count:
        return ""
    lines = [
        f"{part.title} waits for {wait.needs}" + f": {_listed(wait.labels)}" * bool(wait.labels)
        for part in said
        for wait in part.waits
    ]
    return _folded(MARKS["not_run"], f"{_checks(count)} not made yet", lines)


def _passed(said: Sequence[Part]) -> str:
    count = sum(len(part.passed) for part in said)
    lines = [f"{part.title}: {_listed(part.passed)}" for part in said if part.passed]
    return _folded(MARKS["passed"], f"{_checks(count)} passed", lines) if count else ""


def _advice(found: Sequence[str]) -> str:
    if not found:
        return ""
    return f"<p><strong>Worth knowing</strong> (no points lost)</p>{_list(found)}"


def _folded(mark: str, summary: str, lines: Sequence[str]) -> str:
    return f"<details><summary>{mark} {escape(summary)}</summary>{_list(lines)}</details>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _paragraph(text: str, name: str = "") -> str:
    attribute = f' class="{name}"' if name else ""
    return f"<p{attribute}>{escape(text)}</p>"


def _checks(count: int) -> str:
    return f"{count} check{'s' * (count != 1)}"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels)
