"""Put the results of a class that was graded in shards together."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import click

from grading.errors import listed, refusals
from grading.results.lines import LINES, RUN, Result, publish, replaced
from grading.results.record import LazyResults, read_results, read_run
from grading.runs import journal as journals
from grading.runs.journal import only_run_in
from grading.runs.output import SEED
from grading.runs.overrides import Overrides, read_overrides, write_overrides
from grading.runs.preview import changed
from grading.runs.shards import Shard, read_shard
from grading.sandbox import LEVELS
from grading.workers.seeds import kept_seed
from harness.drawing.visible import visible
from harness.errors import UserError


class _Part(NamedTuple):
    """A folder of results, how they were made, and of which shard they are."""

    folder: Path
    facts: Mapping[str, Any]
    shard: Shard


def merge(folders: Sequence[Path], out: Path) -> Collection[Result]:
    """Publish the results of all shards of a class in ``out``, and return them.

    What is merged needs no grading again: the journals are merged too. Overrides are kept; those
    in ``out`` replace a shard's. Raise UserError if a shard is missing, incomplete or being graded,
    belongs to another class or was graded in another way, or if a file cannot be read or written.
    """
    with ExitStack() as stack, refusals(out, "written"):
        _require_apart(folders, out)
        parts = [_read(folder, stack) for folder in folders]
        _require_whole(parts)
        _require_alike(parts)
        _require_one_class(parts)
        places = _places(parts)
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(only_run_in(out))
        given = {
            (each.submission, each.check): each
            for folder in (*folders, out)
            for each in read_overrides(folder)
        }
        overrides = Overrides(given.values())
        results = LazyResults(places, lambda name: overrides.applied(places[name](name)))
        kept_seed(out / SEED, parts[0].facts["seed"])
        with replaced(out / journals.FILE) as journal:
            for part in parts:
                with (part.folder / journals.FILE).open("rb") as file:
                    shutil.copyfileobj(file, journal)
        if given:
            write_overrides(out, given.values())
        publish(out, results, _facts(parts))
    return results


def _require_apart(folders: Sequence[Path], out: Path) -> None:
    """Raise UserError if a folder is given twice, or ``out`` holds anything but results."""
    real = [folder.resolve() for folder in folders]
    for at, folder in enumerate(folders):
        if real[at] in real[:at]:
            raise UserError(f"{folder} is given twice: give each shard once.")
    if out.resolve() in real:
        raise UserError(f"{out} is one of the shards: give --out another folder.")
    # What a merge that was killed leaves begins with a dot.
    held = {each.name for each in out.iterdir() if each.name[0] != "."} if out.is_dir() else set()
    if held and not held & {LINES, RUN, journals.FILE}:
        raise UserError(f"{out} holds other files and no results: give --out a folder of its own.")


def _read(folder: Path, stack: ExitStack) -> _Part:
    """Return what is in a shard's folder, and keep runs out of it."""
    if (folder / journals.FILE).exists():
        stack.enter_context(only_run_in(folder))
        if not (folder / RUN).exists():
            raise UserError(
                f"{folder} is not graded to the end: run the same `backprop grade` command again."
            )
    read_run(folder)
    facts = json.loads((folder / RUN).read_bytes())
    try:
        return _Part(folder, facts, read_shard(facts["shard"]))
    except (KeyError, ValueError):
        raise UserError(
            f"{folder} holds the results of a whole class: give folders that `backprop grade "
            "--shard` wrote."
        ) from None


def _require_whole(parts: Sequence[_Part]) -> None:
    """Raise UserError unless each shard of a class is there once."""
    first = parts[0]
    seen: dict[Shard, Path] = {}
    for part in parts:
        if part.shard.of != first.shard.of:
            raise UserError(
                f"{first.folder} holds shard {first.shard} and {part.folder} shard {part.shard}: "
                "merge shards of the same division."
            )
        if part.shard in seen:
            raise UserError(
                f"{seen[part.shard]} and {part.folder} both hold shard {part.shard}: give one."
            )
        seen[part.shard] = part.folder
    every = (Shard(number + 1, first.shard.of) for number in range(first.shard.of))
    if missing := [str(each) for each in every if each not in seen]:
        raise UserError(f"Results of these shards are missing: {listed(missing)}.")


def _require_alike(parts: Sequence[_Part]) -> None:
    """Raise UserError if two shards were graded in different ways."""
    first = parts[0]
    for part in parts[1:]:
        differences = [
            each for each in changed(first.facts, part.facts) if not each.startswith("shard: ")
        ]
        if differences:
            seeds = " Give all the same --seed." if differences[0].startswith("seed") else ""
            raise UserError(
                f"{part.folder} was graded in another way than {first.folder} "
                f"({'; '.join(map(visible, differences))}): grade it again in the same way.{seeds}"
            )


def _require_one_class(parts: Sequence[_Part]) -> None:
    """Raise UserError for a shard of a class that had other submissions than that of the others."""
    listings = [part.facts.get("listing") for part in parts]
    usual, _ = Counter(filter(None, listings)).most_common(1)[0] if any(listings) else (None, 0)
    for part, listing in zip(parts, listings, strict=True):
        if listing is None:
            click.echo(
                f"{part.folder} does not say how many submissions it has to have: an earlier "
                "version graded it. See that none is missing.",
                err=True,
            )
        elif listing != usual:
            other = parts[listings.index(usual)].folder
            raise UserError(
                f"{part.folder} is a shard of other submissions than {other}: the class has "
                "changed in between, or it is another one. Run the commands of all shards again, "
                "with the same folder of submissions."
            )


def _places(parts: Sequence[_Part]) -> dict[str, Callable[[str], Result]]:
    """Return what reads the result of each submission. Raise UserError if one has two or none."""
    places: dict[str, Callable[[str], Result]] = {}
    owner: dict[str, Path] = {}
    for part in parts:
        results = read_results(part.folder, may_be_empty=True)
        most = part.facts.get("submissions", len(results))
        if len(results) != most:
            raise UserError(
                f"{part.folder} has results of {len(results)} of its {most} submissions: run the "
                f"command of shard {part.shard} again, without --only."
            )
        for name in results.names:
            if name in owner:
                raise UserError(
                    f"{owner[name]} and {part.folder} both have a submission called "
                    f"{visible(name)}: grade the shards of one folder again."
                )
            owner[name], places[name] = part.folder, results.named
    return places


def _facts(parts: Sequence[_Part]) -> dict[str, Any]:
    """Return what ``run.json`` says of all: the weakest isolation, and who is always missing."""
    facts = {name: value for name, value in parts[0].facts.items() if name != "shard"}
    facts["isolation"] = max((part.facts["isolation"] for part in parts), key=LEVELS.index)
    if all("submissions" in part.facts for part in parts):
        facts["submissions"] = sum(part.facts["submissions"] for part in parts)
    else:
        facts.pop("submissions", None)
        facts.pop("listing", None)
    if any(part.facts.get("as_root") for part in parts):
        facts["as_root"] = True
    return facts
