"""What the commands share: options, refusing a call, and writing what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from grading.sandbox import LEVELS
from grading.workers.seeds import LARGEST
from harness.course.assignments import NAMES

if TYPE_CHECKING:
    from grading.results.lines import Result


class Unusable(click.ClickException):
    """The call or its input cannot be used: one sentence, exit code 2."""

    exit_code = 2


def given_folder(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """A folder's path as given on the command line. Raises Unusable for an empty one."""
    if not value:
        raise Unusable(f"{parameter.get_error_hint(context)} is empty: give a folder.")
    return Path(value)


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

    Raises Unusable where there are none.
    """
    from grading.results import record
    from grading.results.lines import as_marked

    try:
        return [as_marked(result) for result in record.read_results(folder)]
    except record.RecordError as error:
        raise Unusable(str(error)) from None


def write(data: bytes, out: Path | None) -> None:
    """Writes to a file, or prints. Raises Unusable where the file cannot be written."""
    if out is None:
        click.echo(data, nl=not data.endswith(b"\n"))
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise Unusable(f"{out} cannot be written: {error.strerror}.") from None


def write_json(data: object, out: Path) -> None:
    """Writes data to a file, as JSON to read."""
    import msgspec

    write(msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n", out)
