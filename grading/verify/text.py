"""What `backprop verify` prints: mutants by check, and whatever is off."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from grading.verify.case import MUTANTS
from grading.verify.run import Proof, verify
from grading.verify.verdicts import Verdict
from harness.drawing.visible import visible

KINDS = {"mistake": "known mistakes", "formula": "formulas", "source": "source"}
SHOWN = 4
OFF_SHOWN = 40


def verify_and_print(course: Path, names: Sequence[str], workers: int, seed: int) -> list[Proof]:
    """Verify the assignments with a progress bar, and print the proof of each.

    Raise UserError for an assignment that cannot be verified.
    """
    return [_one(course, name, workers, seed) for name in names]


def _one(course: Path, name: str, workers: int, seed: int) -> Proof:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(name, total=None)

        def progress(doing: str, done: int, of: int) -> None:
            bar.update(task, description=f"{doing}: {name}", completed=done, total=of or None)

        proof = verify(course, name, workers, seed, progress)
    print_proof(Console(), proof)
    return proof


def print_proof(console: Console, proof: Proof) -> None:
    """Print the table of mutants by check, and the summary."""
    mutants = [each for each in proof.verdicts if each.case.kind in MUTANTS]
    rejected = [each for each in mutants if each.outcome == "rejected"]
    console.print(_table(proof, rejected))
    console.print()
    console.print(_alone(proof, rejected))
    console.print()
    for line in _summary(proof, mutants):
        console.print(line)
    if proof.off:
        console.print("\nUnexpected outcomes:")
    for verdict in proof.off[:OFF_SHOWN]:
        text = f", {verdict.case.text}," if verdict.case.text else ""
        console.print(Text(visible(f"✗ {verdict.case.name}{text} {verdict.why}")))
    if len(proof.off) > OFF_SHOWN:
        console.print(f"… and {len(proof.off) - OFF_SHOWN} more; --json FILE has them all.")


def _table(proof: Proof, rejected: Sequence[Verdict]) -> Table:
    """Return a row for each check: how many mutants it rejects, by kind, and how many it alone."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(f"{proof.assignment}: mutants rejected by")
    for head in (*KINDS.values(), "all", "it alone"):
        table.add_column(head, justify="right")
    for check in proof.checks:
        by_check = [each for each in rejected if check in each.failed]
        counts = Counter(each.case.kind for each in by_check)
        alone = sum(each.failed == (check,) for each in by_check)
        numbers = [counts[kind] for kind in MUTANTS]
        table.add_row(check, *(str(n or "–") for n in (*numbers, len(by_check), alone)))
    return table


def _alone(proof: Proof, rejected: Sequence[Verdict]) -> Table:
    """Return the mutants with right values that are rejected by a single check."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check")
    table.add_column("mutants that it alone rejects, though their values are right")
    for check in proof.checks:
        if check.endswith("/forward") or "/gradient/" in check:
            continue
        names = [_name(each, check) for each in rejected if each.failed == (check,)]
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            table.add_row(check, Text(", ".join(names[:SHOWN]) + more))
    return table


def _name(verdict: Verdict, check: str) -> str:
    """Return the name of a mistake, or the description of a mutant made by rule."""
    each = verdict.case
    stage = "" if check.startswith(each.stage) else f"{each.stage}: "
    return stage + (each.name.rpartition("/")[2] if each.kind == "mistake" else visible(each.text))


def _summary(proof: Proof, mutants: Sequence[Verdict]) -> Iterator[str]:
    for kind, claim in (
        ("solution", "the solution gets full marks"),
        ("handout", "the handout as released gets none"),
    ):
        right = [each.outcome == "right" for each in proof.verdicts if each.case.kind == kind]
        if right:
            yield f"{_mark(all(right))} {claim}"
    counts = Counter((each.case.kind, each.outcome) for each in proof.verdicts)
    equivalent = sum(each.outcome == "equivalent" for each in mutants)
    wrong = len(mutants) - equivalent
    rejected = sum(each.outcome == "rejected" for each in mutants)
    parts = ", ".join(f"{counts[kind, 'rejected']} {KINDS[kind]}" for kind in MUTANTS)
    yield f"{_mark(rejected == wrong)} {rejected} of {wrong} mutants rejected: {parts}"
    yield f"  {equivalent} more are right after all: their values are the same, and they pass"
    controls = [each for each in proof.verdicts if each.case.kind == "control"]
    passed = sum(each.outcome == "right" for each in controls)
    yield f"{_mark(passed == len(controls))} {passed} of {len(controls)} controls get full marks"
    for what, is_pair in (("hints lead", False), ("pairs of hints lead", True)):
        hints = [each for each in proof.verdicts if each.case.kind == "hint"]
        right = [x.outcome == "right" for x in hints if ("+" in x.case.name) == is_pair]
        if right:
            led = f"{sum(right)} of {len(right)} {what} to full marks"
            yield f"{_mark(all(right))} {led} if what they name is undone"


def _mark(right: bool) -> str:
    return "✓" if right else "✗"
