"""The instructor's notebooks: what they hold, and that they run, solved and as released."""

import ast
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import SETTINGS_FILE, Settings, load_settings, settings_beside
from harness.many_neurons import DIGITS
from harness.probes import plan
from harness.training.datasets import load_digits
from harness.training.tumours import TUMOURS, split_tumours

nbgraderformat = pytest.importorskip("nbgrader.nbgraderformat")

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def folder_of(name):
    return ROOT / "solutions" / name


def notebook_of(name):
    return nbformat.read(folder_of(name) / f"{name}.ipynb", nbformat.NO_CONVERT)


def released(notebook):
    """The notebook as students get it: nbgrader takes the solutions out."""
    from nbgrader.preprocessors import ClearSolutions

    cleared, _ = ClearSolutions().preprocess(notebook, {})
    return cleared


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def marked(notebook, **wanted):
    """The cells with these values in nbgrader's metadata."""
    return [
        cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
        and all(cell.metadata.nbgrader[key] == value for key, value in wanted.items())
    ]


def checks_of(assignment, call):
    """The checks that a cell makes whose last line is ``call``."""
    names = {arg.id for arg in call.args}
    if call.func.id == "train":
        assert names == {stage.name for stage in assignment.stages}
        names = {None}
    planned = plan(assignment, settings_beside(folder_of(assignment.name), assignment.name))
    return [check for check in planned if check.stage in names]


@pytest.fixture(params=SHIPPED)
def assignment(request):
    return load_assignment(request.param)


@pytest.fixture
def notebook(assignment):
    return notebook_of(assignment.name)


def test_notebook_is_valid(notebook):
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_metadata_is_valid_for_nbgrader(assignment):
    text = (folder_of(assignment.name) / f"{assignment.name}.ipynb").read_text(encoding="utf-8")
    read = nbgraderformat.reads(text, as_version=4)
    for cell in marked(read):
        mark = cell.metadata.nbgrader
        assert mark.schema_version == nbgraderformat.SCHEMA_VERSION
        assert mark.locked is not mark.solution
        assert mark.grade_id == cell.id
        assert not (mark.grade and mark.solution)


def test_no_output_is_saved(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_check_cells_cover_every_check_and_are_worth_their_points(assignment, notebook):
    made = []
    for cell in marked(notebook, grade=True):
        last = ast.parse(cell.source).body[-1]
        assert isinstance(last, ast.Expr)
        checks = checks_of(assignment, last.value)
        points = sum(check.max_points for check in checks)
        assert cell.metadata.nbgrader.points == pytest.approx(points, abs=1e-12)
        made += [check.id for check in checks]
    assert sorted(made) == sorted(check.id for check in plan(assignment, Settings()))


def test_each_part_is_a_cell_of_the_students(assignment, notebook):
    defined = []
    for cell in marked(notebook, solution=True):
        (found,) = ast.parse(cell.source).body
        assert isinstance(found, ast.ClassDef | ast.FunctionDef)
        defined.append(found.name)
    assert sorted(defined) == sorted(name for part in assignment.parts for name in part)


def test_the_work_is_the_body_of_each_backward_or_step_and_nothing_else(notebook):
    for cell in notebook.cells:
        lines = cell.source.split("\n")
        inside, solution = set(), False
        for number, line in enumerate(lines, start=1):
            solution = (solution or BEGIN in line) and END not in line
            if solution and BEGIN not in line:
                inside.add(number)
        if not (cell.cell_type == "code" and cell in marked(notebook, solution=True)):
            assert BEGIN not in cell.source
            continue
        (found,) = ast.parse(cell.source).body
        (work,) = (
            node
            for node in (found.body if isinstance(found, ast.ClassDef) else [found])
            if isinstance(node, ast.FunctionDef)
            and (node is found or node.name in ("backward", "step"))
        )
        body = work.body[1:] if ast.get_docstring(work) else work.body
        last = body[-1].end_lineno
        assert last
        assert inside == set(range(body[0].lineno, last + 1))


def test_what_needs_the_harness_is_left_out_of_grading(notebook):
    """A student's own process has no harness beyond what a handout imports first."""
    for cell in code_cells(notebook):
        needs = re.search(
            r"harness\.(show|training)|matplotlib|\bdraw_\w+\(|compare\(|predicted|attempt\(|DIGITS"
            r"|\b(print_rates|shrink)\(",
            cell.source,
        )
        if cell.id != "imports":
            assert ("ungraded" in cell.metadata.get("tags", [])) is bool(needs), cell.id


def test_what_is_released_does_not_give_the_work_away(assignment, notebook):
    text = re.sub(r"\s|\\[,;:]|\\cdot|\$", "", "".join(c.source for c in released(notebook).cells))
    for stage in assignment.stages:
        for expression in stage.gradients.values():
            bare = re.sub(r"\s", "", expression)
            local = bare.replace("g*", "")
            spoilers = {bare, local, local.replace("*", "")}
            assert not [each for each in spoilers if re.search(r"\W", each) and each in text]


def test_there_is_something_to_do_every_two_hundred_words(notebook):
    """A cell to run and change, a prediction or a check; formulas and tables are not counted."""
    since, total = 0, 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            since += (words := len(words_of(cell.source)))
            total += words
            assert since <= 200, cell.id
        elif "source_hidden" not in cell.metadata.get("jupyter", {}):
            mark = cell.metadata.get("nbgrader", {})
            since *= bool(mark.get("locked") and not mark["grade"])
    assert total <= 2500


def words_of(prose):
    prose = re.sub(r"\$\$.*?\$\$|^\|.*?$|\]\(.*?\)", " ", prose, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"[^\W\d_][\w'’-]*", re.sub(r"\$.*?\$", "x", prose, flags=re.DOTALL))


def test_numbers_in_the_prose_are_those_of_the_tasks():
    one, many = (notebook_of(name) for name in ("one-neuron", "many-neurons"))
    knobs = sum(value.numel() for value in DIGITS.parameters().values())
    images = len(load_digits()[0]) - len(DIGITS.unseen()[0])
    for notebook in (one, many):
        prose = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert thousands(knobs) in prose
        assert thousands(images) in prose
        assert f"${knobs * images / 1e6:.1f}$ million" in prose
    prose = "".join(cell.source for cell in one.cells if cell.cell_type == "markdown")
    steps, samples = TUMOURS.steps, len(split_tumours()[0])
    counted = thousands(len(TUMOURS.parameters()) * samples * steps)
    assert f"Ours takes {steps} steps: ${counted}$" in prose
    assert f"with the same ${DIGITS.steps}$ steps and $\\eta = {DIGITS.rate:g}$" in "".join(
        cell.source for cell in many.cells
    )
    assert f"The samples are {samples} tumours" in prose
    assert (DIGITS.steps, TUMOURS.steps) == (180, 30)


def thousands(number):
    """A number as LaTeX sets it, with a thin space between its thousands."""
    return f"{number:,}".replace(",", r"\,")


def test_settings_hold_what_their_comments_offer(assignment, tmp_path):
    path = folder_of(assignment.name) / SETTINGS_FILE
    assert load_settings(path, assignment.name) == Settings()
    commented = re.compile(r'^# (\[\w+\]|"?[\w/-]+"? = .*)$', flags=re.MULTILINE)
    offered = tmp_path / SETTINGS_FILE
    offered.write_text(commented.sub(r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")
    settings = load_settings(offered, assignment.name)
    assert settings.points
    assert plan(assignment, settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Executes a notebook in a kernel of its own, beside its settings; each once."""
    import matplotlib.font_manager  # noqa: F401 - a first import speaks on stderr
    from nbclient import NotebookClient

    done = {}

    def executed(name, form):
        if (name, form) not in done:
            folder = tmp_path_factory.mktemp(f"{name}-{form}")
            shutil.copyfile(folder_of(name) / SETTINGS_FILE, folder / SETTINGS_FILE)
            notebook = notebook_of(name)
            if form == "released":
                notebook = released(notebook)
            client = NotebookClient(
                notebook,
                timeout=300,
                allow_errors=True,
                kernel_name="python3",
                resources={"metadata": {"path": str(folder)}},
            )
            kept = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
            done[name, form] = client.execute(env={**kept, "PYTHONPATH": str(ROOT)})
        return done[name, form]

    return executed


@pytest.mark.slow
@pytest.mark.parametrize("form", ["solved", "released"])
def test_every_cell_runs_without_a_word_on_stderr(assignment, form, run):
    for cell in code_cells(run(assignment.name, form)):
        for output in cell.outputs:
            said = "\n".join(output.get("traceback", [output.get("text", "")]))
            assert output.output_type != "error", f"{cell.id}: {said}"
            assert output.get("name") != "stderr", f"{cell.id}: {said}"


@pytest.mark.slow
@pytest.mark.parametrize(("form", "share"), [("solved", 1.0), ("released", 0.0)])
def test_nbgrader_reads_the_points(assignment, form, share, run):
    from nbgrader.utils import determine_grade

    for cell in marked(run(assignment.name, form), grade=True):
        points = cell.metadata.nbgrader.points
        (result,) = (each for each in cell.outputs if each.output_type == "execute_result")
        assert result.data["text/plain"] == repr(float(result.data["text/plain"]))
        assert determine_grade(cell) == (share * points, points)


@pytest.mark.slow
def test_every_picture_is_drawn_in_the_solved_notebook(assignment, run):
    cells = code_cells(run(assignment.name, "solved"))
    drawn = [cell for cell in cells if re.fullmatch(r".*-picture|compare-.*", cell.id)]
    assert len(drawn) > 5
    for cell in drawn:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert kinds & {"image/png", "image/svg+xml"}, cell.id
