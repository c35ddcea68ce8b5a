"""Measures grading side by side with what it is compared with: ``python -m benchmarks``."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from benchmarks.compare import PARTS, Comparison, Findings, Plan
from benchmarks.tables import facts_of, tables_of


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--submissions", type=click.IntRange(min=4), default=Plan.submissions)
@click.option(
    "--peers", type=click.IntRange(min=2), default=Plan.peers, help="How many the peers get."
)
@click.option("--rounds", type=click.IntRange(min=1), default=Plan.rounds)
@click.option(
    "--minutes",
    type=float,
    default=Plan.minutes,
    help="Begin no round that would end later; what is measured once comes after.",
)
@click.option("--seed", type=int, default=Plan.seed, help="Which submissions to make.")
@click.option("--only", default=",".join(PARTS), help="What to measure.")
@click.option("--markdown", is_flag=True, help="Print the tables in Markdown.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures there."
)
def main(
    submissions: int,
    peers: int,
    rounds: int,
    minutes: float,
    seed: int,
    only: str,
    markdown: bool,
    json_file: Path | None,
) -> None:
    """Measures `backprop grade` side by side with the limit and with other graders.

    Exit code 0: everything was measured; 1: something failed; 2: the call is unusable.
    """
    parts = frozenset(only.split(","))
    if unknown := parts - set(PARTS):
        raise click.UsageError(f"--only knows {', '.join(PARTS)}; not {', '.join(sorted(unknown))}")
    plan = Plan(submissions, peers, rounds, minutes, seed, parts)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as workspace:
        comparison = Comparison(plan, Path(workspace))
        findings = comparison.findings
        try:
            comparison.run()
        except KeyboardInterrupt:
            findings.failures.append("stopped early")
    if json_file:
        found = asdict(findings) | {"plan": asdict(plan) | {"only": sorted(parts)}}
        json_file.write_text(json.dumps(found, indent=2), encoding="utf-8")
    _print(findings, markdown)
    sys.exit(1 if findings.failures else 0)


def _print(findings: Findings, markdown: bool) -> None:
    if markdown:
        lines = [f"- {fact}" for fact in facts_of(findings)]
        click.echo("\n\n".join(["\n".join(lines), *(t.markdown() for t in tables_of(findings))]))
        return
    console = Console()
    for fact in facts_of(findings):
        console.print(fact, highlight=False, markup=False)
    for table in tables_of(findings):
        console.print(table.picture())


if __name__ == "__main__":
    main()
