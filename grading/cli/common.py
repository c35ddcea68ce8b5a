"""What the commands share: options, refusing a call, and writing what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grading.sandbox import LEVELS
from grading.workers.seeds import LARGEST
from harness.course.assignments import NAMES
from harness.errors import UserError

if TYPE_CHECKING:
    from grading.results.lines import Result


def given_folder(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """A folder's path as given on the command line. Raises UserError for an empty one."""
    if not value:
        raise UserError(f"{parameter.get_error_hint(context)} is empty: give a folder.")
    return Path(value)


# The exit code where the call, or what it names, cannot be used.
UNUSABLE = 2
ASSIGNMENT = click.Choice(NAMES)
RESULTS = click.argument("results", metavar="DIR", callback=given_folder)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    help="Processes to work with; one for each core if left out.",
)
SEEDS = click.IntRange(0, LARGEST)
SEED = click.option(
    "--seed",
    type=SEEDS,
    default=0,
    show_default=True,
    help="Which hidden inputs to try.",
)
ISOLATION = click.option(
    "--isolation",
    type=click.Choice(LEVELS),
    default=None,
    help="Insist on this level; the best that locks submissions down if left out.",
)
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Write it there instead of printing it."
)


def read_results(folder: Path) -> list[Result]:
    """The results of the run in a folder, with the points that count.

    Raises UserError where there are none.
    """
    from grading.results import record
    from grading.results.lines import as_marked

    return [as_marked(result) for result in record.read_results(folder)]


def write(data: bytes, out: Path | None) -> None:
    """Writes to a file, or prints. Raises UserError where the file cannot be written."""
    if out is None:
        click.echo(data, nl=not data.endswith(b"\n"))
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from None


def write_json(data: object, out: Path) -> None:
    """Writes data to a file, as JSON to read."""
    import msgspec

    write(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n", out)
