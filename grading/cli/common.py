"""Options that several commands have, and writing what was asked for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grading.errors import refusals
from grading.sandbox import LEVELS
from grading.workers.seeds import LARGEST
from harness.course.assignments import (
    assignment_names,
    choose_course,
    current_course,
    settings_file,
)
from harness.course.settings import SETTINGS_FILE
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from grading.results.record import LazyResults


def given_folder(context: click.Context, parameter: click.Parameter, value: str) -> Path:
    """Return a folder's path as given on the command line. Raise UserError if it is empty."""
    if not value:
        raise UserError(f"{parameter.get_error_hint(context)} is empty: give a folder.")
    return Path(value)


def known_assignment(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """Return the name of an assignment of the package or of the course. Refuse other names."""
    if value is not None and value not in assignment_names():
        known = assignment_names()
        near = did_you_mean(value, known)
        raise click.BadParameter(f"{value!r} is not one of {', '.join(known)}.{near}")
    return value


# The exit code if the call, or what it names, cannot be used.
UNUSABLE = 2
PATH = click.Path(path_type=Path)
# It is processed first, as the names of assignments depend on it.
COURSE = click.option(
    "--course",
    type=PATH,
    metavar="DIR",
    is_eager=True,
    expose_value=False,
    callback=lambda context, parameter, value: choose_course(value),
    help="The course's folder. Default: the nearest one, here or above, that holds solutions/.",
)
SEEDS = click.IntRange(0, LARGEST)
FOLDER = click.argument("folder", callback=given_folder)
RESULTS = click.argument("results", metavar="DIR", callback=given_folder)
FOR_ASSIGNMENT = click.option(
    "--assignment",
    required=True,
    metavar="NAME",
    callback=known_assignment,
    help="The assignment that FOLDER is for.",
)
WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), help="Number of processes. Default: one per core."
)
ISOLATION = click.option(
    "--isolation",
    type=click.Choice(LEVELS),
    help="Require this isolation level. Default: the strongest available one that is safe for "
    "untrusted code.",
)
OUT = click.option("--out", type=PATH, help="Write to this file instead of printing.")
JSON = click.option(
    "--json",
    "json_file",
    type=PATH,
    metavar="FILE",
    help="Also write the outcome as JSON; - prints that, and the rest on standard error.",
)
# Where the outcome is printed as JSON.
STANDARD_OUTPUT = Path("-")


def course_here() -> Path:
    """Return the course's folder. Raise UserError if the command is run outside of one."""
    course = current_course()
    if course is None:
        raise UserError(
            "There is no course here or above: run this in the course's folder, which holds "
            "solutions/. `backprop new DIR` makes one."
        )
    return course


def tell_of_settings(assignment: str, folder: Path | None = None) -> None:
    """Say on standard error that the declared settings are used, if none are set.

    They are set in ``folder`` or in the course.
    """
    path = settings_file(assignment, folder)
    if not path.is_file():
        where = str(path) if current_course() else f"{SETTINGS_FILE} or course here or above"
        click.echo(f"No {where}: the declared settings of {assignment} are used.", err=True)


def read_results(folder: Path) -> LazyResults:
    """Return the results of the run in a folder, with the points that count."""
    from grading.results import record
    from grading.results.lines import as_marked

    return record.read_results(folder, as_marked)


def write(data: bytes | Iterable[bytes], out: Path | None) -> None:
    """Write data, whole or in parts, to a file, or print it."""
    parts = [data] if isinstance(data, bytes) else data
    if out is not None:
        with refusals(out, "written"), out.open("wb") as file:
            file.writelines(parts)
        return
    last = b"\n"
    try:
        for part in parts:
            click.echo(part, nl=False)
            last = part or last
        if not last.endswith(b"\n"):
            click.echo()
    except BrokenPipeError:
        # Whoever reads it has seen enough; what Python still holds goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_json(data: object, out: Path) -> None:
    """Write data to a file, or to standard output, as indented JSON."""
    import msgspec

    indented = msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
    write(indented, None if out == STANDARD_OUTPUT else out)


@contextmanager
def loading() -> Iterator[None]:
    """Disable garbage collection while the block imports modules: with torch, that saves 0.1 s."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def beside(json_file: Path | None) -> Iterator[None]:
    """Print on standard error in the block if the JSON goes to standard output."""
    with redirect_stdout(sys.stderr) if json_file == STANDARD_OUTPUT else nullcontext():
        yield
