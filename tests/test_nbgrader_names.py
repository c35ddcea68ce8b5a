"""Under nbgrader too, the work counts whatever its file is called, and no name costs a mark."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

pytest.importorskip("nbgrader")

from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment

from grading.nbgrader import plugin
from tests.nbgrader_class import solved
from tests.nbgrader_course import NAME
from tests.test_choosing import notebook, put, zipped
from tests.test_nbgrader import converter
from tests.users import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down"),
]
SLOPE = "def slope_of_a(a):\n    return a * (1 - a)\n"


def code_of(made):
    """The code of a notebook's own cells, its checks aside."""
    texts = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    return "\n\n".join(text for text in texts if not text.startswith(("check(", "train(")))


@pytest.mark.proof
def test_work_of_any_name_is_graded_and_what_is_ambiguous_is_never_a_zero(tmp_path, caplog):
    caplog.set_level("INFO")
    shutil.copytree(PROJECT / "solutions" / NAME, tmp_path / "solutions" / NAME)
    converter(GenerateAssignment, tmp_path).start()
    source = json.loads((tmp_path / "solutions" / NAME / f"{NAME}.ipynb").read_text())
    handout = (tmp_path / "assignments" / NAME / f"{NAME}.ipynb").read_text()
    right = solved(source, json.loads(handout))
    work = json.dumps(right)
    code = code_of(right)
    helped = code.replace("import torch\n", "import torch\nfrom helpers import slope_of_a\n", 1)
    assert "a * (1 - a)" in helped
    files = {
        "alice": {"my work.ipynb": work},
        "bob": {f"{NAME}.ipynb": handout, f"{NAME}-Copy1.ipynb": work},
        "carol": {f"{NAME}.ipynb.txt": work},
        "dora": {"hw.zip": zipped({"work.ipynb": work})},
        "erin": {"a.ipynb": work, "b.ipynb": work.replace("a * (1 - a)", "a - a * a")},
        "finn": {
            "w.py": helped.replace("a * (1 - a)", "slope_of_a(a)"),
            "helpers.py": SLOPE,
        },
        "gina": {f"{NAME}.ipynb": work.replace("harness.one_neuron", "harness.many_neurons")},
        "hugo": {"other.ipynb": "{"},
        "ines": {f"{NAME}.ipynb": work, "README.md": "x", "sub/test_x.py": "x = 1"},
        "jo": {f"{NAME}.ipynb": notebook("%%writefile h.py\n" + SLOPE, "import h\n" + code)},
    }
    for student, its in files.items():
        put(tmp_path / "submitted" / student / NAME, its)
    try:
        converter(Autograde, tmp_path).start()
    finally:
        plugin.leave()
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        marks = {each.student.id: each.score for each in gradebook.assignment_submissions(NAME)}
    full = dict.fromkeys(("alice", "bob", "carol", "dora", "finn", "ines", "jo"), pytest.approx(10))
    assert marks == full | {"hugo": 0}
    assert "erin: There are 2 files where one is expected: a.ipynb, b.ipynb." in caplog.text
    assert "gina: This looks like many-neurons, handed in as one-neuron." in caplog.text
