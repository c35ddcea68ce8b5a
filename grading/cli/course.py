"""What an instructor runs on a course and a machine: release, verify, doctor."""

import sys
from pathlib import Path

import click

from grading.cli.common import (
    COURSE,
    JSON,
    SEEDS,
    WORKERS,
    beside,
    given_folder,
    known_assignment,
    tell_of_settings,
    write_json,
)
from grading.workers.capacity import cores
from grading.workers.jobs import Job
from harness.course.assignments import (
    NBGRADER_CONFIG,
    assignment_names,
    current_course,
    settings_of,
    source_of,
)


@click.command()
@click.argument("assignment", required=False, callback=known_assignment)
@COURSE
@click.option(
    "--embed",
    is_flag=True,
    help="Of an assignment of your own, also put the module into the notebook, for systems that "
    "open the notebook alone.",
)
def release(assignment: str | None, embed: bool) -> None:
    """Generate the handouts from the solutions.

    This runs nbgrader on solutions/, and writes to assignments/.
    """
    from grading.nbgrader.release import release_assignment

    course = current_course() or Path()
    for name in [assignment] if assignment else _present():
        for path in release_assignment(course, name, embed=embed):
            click.echo(f"Released {path}")
        tell_of_settings(name)


@click.command()
@click.argument("assignment", required=False, callback=known_assignment)
@COURSE
@WORKERS
@click.option("--seed", type=SEEDS, default=0, show_default=True, help="Seed of the hidden inputs.")
@JSON
def verify(assignment: str | None, workers: int | None, seed: int, json_file: Path | None) -> None:
    """Verify that the checks work.

    Run it in the course's folder. The solution must get full marks and the handout none; every
    mutant of the solution must be rejected, and right submissions in unusual styles must pass.

    Exit code 0: all of this holds; 1: something does not; 2: there is nothing to verify.
    """
    from grading.runs.start import check_declared
    from grading.verify.text import verify_and_print

    names = [assignment] if assignment else _present()
    for name in names:
        check_declared(Job(name, settings_of(name), seed))
    with beside(json_file):
        proofs = verify_and_print(current_course() or Path(), names, workers or cores(), seed)
    for name in names:
        tell_of_settings(name)
    if json_file:
        write_json([proof.as_dict() for proof in proofs], json_file)
    sys.exit(1 if any(proof.off for proof in proofs) else 0)


@click.command()
@click.argument("folder", metavar="DIR", callback=given_folder)
@click.option(
    "--assignment", metavar="NAME", help="Add an assignment of your own, to fill in, to the course."
)
def new(folder: Path, assignment: str | None) -> None:
    """Make a course's folder, with the shipped assignments in it.

    DIR may be the folder of an nbgrader course. Files that are there stay as they are.
    """
    from grading.courses.new import add_assignment, make_course

    made = list(add_assignment(folder, assignment) if assignment else make_course(folder))
    for path in made:
        click.echo(f"Wrote {path}")
    config = folder / NBGRADER_CONFIG
    if config not in made and "grading.nbgrader" not in config.read_text(encoding="utf-8"):
        click.echo(
            f"{config} is yours, and stays as it is. For the marks of `nbgrader autograde`, add to "
            "it:\n    from grading.nbgrader.plugin import configure\n    configure(get_config())"
        )


def _present() -> list[str]:
    """Return the assignments that the course has, or all if none: what is missing is told."""
    present = [name for name in assignment_names() if source_of(name).is_dir()]
    return present or list(assignment_names())


@click.command()
@click.option(
    "--attack",
    is_flag=True,
    help="Also grade a class of attackers, and report what was contained (about a minute).",
)
def doctor(attack: bool) -> None:
    """Show how well this machine isolates code.

    The output says what to install to improve it.

    Exit code 0: submissions can be isolated; 1: they cannot. With --attack, 0: every attack was
    contained; 1: one was not; 2: submissions cannot be isolated here.
    """
    from grading.sandbox.doctor import HOLDS, best, examine

    findings = examine()
    for each in findings:
        click.echo(f"{'✓' if each.works else '✗'} {each.level:8} {HOLDS[each.level]}")
        for line in filter(None, (each.why if not each.works else "", each.cure)):
            click.echo(f"             {line}")
    level = best(findings)
    if level is None:
        click.echo("On this machine, backprop grade only runs with --isolation minimal.")
        sys.exit(2 if attack else 1)
    click.echo(f"On this machine, backprop grade isolates submissions at level {level}.")
    if attack:
        from grading.attacks.show import attack_and_print

        sys.exit(0 if attack_and_print(level) else 1)
