"""The folder that a run writes to: its journal, its seed, and keeping other runs out of it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from grading.errors import refusals
from grading.results.lines import GRADES, LINES, RUN, unfinished
from grading.results.record import read_run
from grading.results.versions import versions
from grading.runs import journal as journals
from grading.runs.journal import Journal, only_run_in
from grading.runs.overrides import FILE as OVERRIDES
from grading.runs.shards import Shard
from grading.workers.seeds import kept_seed
from harness.errors import UserError

# Where the folder keeps its seed from the start: run.json comes at the end of a run.
SEED = ".seed"
# What every run used before seeds were drawn at random.
PUBLIC_SEED = 0


@contextmanager
def open_journal(out: Path, shard: Shard | None) -> Iterator[Journal]:
    """Yield the journal in ``out``, which is created if needed, and keep other runs out.

    Raise UserError if the folder cannot be written, another run is writing to it, or it holds the
    results of anything but the ``shard``, or the class without one.
    """
    with refusals(out, "written"):
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: give --out a folder for the results.")
        out.mkdir(parents=True, exist_ok=True)
        for name in (LINES, GRADES, RUN, journals.FILE):
            if (out / name).is_dir():
                raise UserError(f"{out / name} is a folder: move it away, or give another --out.")
    with only_run_in(out):
        _require_same(out, shard)
        with refusals(out, "written"):
            for name in (LINES, GRADES, RUN, OVERRIDES, journals.FILE):
                unfinished(out / name).unlink(missing_ok=True)
            by = ", ".join(" ".join(each) for each in versions().items())
            journal = Journal(out / journals.FILE, by)
        try:
            yield journal
        finally:
            with refusals(out, "written"):
                journal.close()


def _require_same(out: Path, shard: Shard | None) -> None:
    """Raise UserError if ``out`` has results that this run would replace by those of others."""
    held = wanted = str(shard or "")
    # A run.json that cannot be read is replaced.
    with suppress(UserError):
        held = read_run(out).shard
    if held != wanted:
        whose = f"shard {held}" if held else "a whole class"
        raise UserError(f"{out} holds the results of {whose}: give another --out.")


def seed_for(out: Path, wanted: int | None, *, keep: bool) -> int:
    """Return the seed to grade with: ``wanted``, or else the one that ``out`` keeps.

    It is on disk before anything is judged with it. A ``wanted`` seed that is not to be kept
    leaves the folder's as it is.
    """
    if wanted is not None and not keep:
        return wanted
    if wanted is None and not (out / SEED).exists():
        # It may have no results, or a run.json that this run replaces.
        with suppress(UserError):
            wanted = read_run(out).seed
        if wanted == PUBLIC_SEED:
            click.echo(
                f"{out} was graded with seed 0, which is public: everything is graded again with "
                "a new random seed (--seed 0 keeps the old one)."
            )
            wanted = None
    with refusals(out, "written"):
        return kept_seed(out / SEED, wanted)
