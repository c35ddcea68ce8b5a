"""What `backprop doctor --attack` prints."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from grading.attacks.attempt import AttackError, Verdict, attempt_here
from grading.sandbox import Isolation
from harness.drawing.visible import visible, visible_line

# The width of the table when the output is not a terminal.
WIDTH = 120


def attack_and_print(level: Isolation) -> bool:
    """Attack this machine at a level, print each attempt, and return whether all were contained."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print("\nGrading a class of attackers; this takes about a minute …")
    try:
        found = attempt_here(level)
    except AttackError as error:
        console.print("NOT contained: grading ended without results, and said:")
        console.print(visible(str(error)), markup=False)
        return False
    console.print(_table(found))
    loose = sum(bool(each.why) for each in found)
    where = f"at the level {level}; docs/security.md describes them by number."
    if loose:
        console.print(f"{loose} of {len(found)} attempts were NOT contained {where}")
    else:
        console.print(f"All {len(found)} attempts were contained {where}")
    return not loose


def _table(found: Sequence[Verdict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("no.", no_wrap=True)
    for heading in ("attempt", "what stops it", ""):
        table.add_column(heading)
    for each in found:
        outcome = f"NOT contained: {visible_line(each.why)}" if each.why else "contained"
        numbers = ", ".join(map(str, each.numbers))
        table.add_row(numbers, Text(each.attempt), Text(each.stopped_by), Text(outcome))
    return table
