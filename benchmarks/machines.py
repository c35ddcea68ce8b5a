"""What a local pool, a dask cluster and shards cost: ``python -m benchmarks.machines``."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.meter import Command, Usage, measure
from benchmarks.mix import make_mix

BACKPROP = str(Path(sys.executable).with_name("backprop"))
COUNTS = (1, 2, 4)


def commands(folder: Path, way: str, count: int) -> list[Command]:
    """What grades the class with so many worker processes, each to be started at the same time."""
    asked = [BACKPROP, "grade", str(folder / "class"), "--assignment", "many-neurons", "--seed=1"]
    out = folder / "out"
    if way == "pool":
        return [Command([*asked, f"--workers={count}", f"--out={out}"], str(folder))]
    if way == "dask":
        return [Command([*asked, f"--scheduler=local:{count}", f"--out={out}"], str(folder))]
    return [
        Command(
            [*asked, "--workers=1", f"--shard={number}/{count}", f"--out={out}/{number}"],
            str(folder),
        )
        for number in range(1, count + 1)
    ]


def used_by(folder: Path, way: str, count: int) -> Usage:
    """What it cost, the merging of shards included. Fails where not all submissions are graded."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    log = folder / "log"
    used = measure(commands(folder, way, count), log, at_once=count)
    if way == "shards":
        parts = [f"{folder}/out/{number}" for number in range(1, count + 1)]
        merged = Command([BACKPROP, "merge", *parts, f"--out={folder}/all"], str(folder))
        last = measure([merged], log)
        codes = [*used.codes, *last.codes]
        used = replace(used, wall=used.wall + last.wall, cpu=used.cpu + last.cpu, codes=codes)
    if any(used.codes):
        raise click.ClickException(f"{way} with {count}: {log.read_text(encoding='utf-8')[-2000:]}")
    return used


@click.command()
@click.option("--submissions", default=200, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(submissions: int, rounds: int) -> None:
    """Grade the same class in a local pool, on a local dask cluster, and in shards."""
    ways: list[tuple[str, int]] = [
        (way, count) for count in COUNTS for way in ("pool", "dask", "shards")
    ]
    found: dict[tuple[str, int], list[Usage]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "class").mkdir()
        for work in make_mix(submissions, seed=0):
            (folder / "class" / f"{work.name}.py").write_text(work.code, encoding="utf-8")
        for number in range(rounds):
            for each in ways if number % 2 == 0 else reversed(ways):
                found[each].append(used_by(folder, *each))
    table = Table("workers", "way", "wall ÷ one in the pool", "CPU ÷ one in the pool")
    for way, count in ways:
        ratios = [
            [now / first for now, first in zip(times, firsts, strict=True)]
            for times, firsts in zip(_both(found[way, count]), _both(found["pool", 1]), strict=True)
        ]
        table.add_row(str(count), way, *(_said(each) for each in ratios))
    Console().print(table)
    busy = [each.others for usages in found.values() for each in usages]
    print(f"{submissions} submissions; other work kept {statistics.median(busy):.2f} cores busy")


def _both(usages: list[Usage]) -> tuple[list[float], list[float]]:
    return [each.wall for each in usages], [each.cpu for each in usages]


def _said(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    main()
