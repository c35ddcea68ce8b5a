"""What one submission costs, beside importing torch: ``python -m benchmarks.starts``."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machines import BACKPROP
from benchmarks.meter import Command, Usage, measure
from benchmarks.mix import make_mix
from grading.sandbox import LOCKED

NAME = "many-neurons"
TORCH = "import torch"
FILE = "right.py"


def commands(folder: Path, turn: int) -> dict[str, Command]:
    """What is measured in a round: importing torch, which is the unit, and the commands."""
    asked = [BACKPROP, "grade", str(folder), "--assignment", NAME, "--seed=1", "--workers=1"]
    every = {
        TORCH: [sys.executable, "-c", "import torch"],
        "backprop check": [BACKPROP, "check", str(folder / FILE), "--assignment", NAME],
    }
    for level in LOCKED:
        out = f"--out={folder}-{turn}-{level}"
        every[f"backprop grade, isolation {level}"] = [*asked, f"--isolation={level}", out]
    return {name: Command(argv, str(folder)) for name, argv in every.items()}


@click.command()
@click.option("--rounds", default=7, show_default=True)
def main(rounds: int) -> None:
    """Print what checking and grading one right submission take, in units of importing torch.

    Every round runs all of them in turn; the ratios are medians of those within a round.
    """
    used: dict[str, list[Usage]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name, "class"), Path(name, "log")
        folder.mkdir()
        right = next(each for each in make_mix(2, 0) if each.right)
        (folder / FILE).write_text(right.code, encoding="utf-8")
        for turn in range(rounds):
            for what, command in commands(folder, turn).items():
                usage = measure([command], log)
                if any(usage.codes):
                    said = log.read_text(encoding="utf-8")[-2000:]
                    raise click.ClickException(f"{what}: {said}")
                used[what].append(usage)
    table = Table("", "wall, s", "of torch's", "processor, s", "of torch's")
    for what, each in used.items():
        pairs = list(zip(each, used[TORCH], strict=True))
        table.add_row(
            what,
            f"{statistics.median(one.wall for one in each):.2f}",
            f"{statistics.median(one.wall / unit.wall for one, unit in pairs):.2f}",
            f"{statistics.median(one.cpu for one in each):.2f}",
            f"{statistics.median(one.cpu / unit.cpu for one, unit in pairs):.2f}",
        )
    Console().print(table)
    others = statistics.median(one.others for each in used.values() for one in each)
    click.echo(f"{rounds} rounds; other work kept {others:.2f} cores busy.")


if __name__ == "__main__":
    main()
