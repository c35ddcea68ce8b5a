"""A submission's statements run one by one: what fails hides nothing else."""

from __future__ import annotations

import sys

import pytest

from grading.confined.definitions import NothingParses, run_definitions
from grading.parsing.source import Cell, Source


class Ignored(Exception):
    """What a stand-in raises."""


@pytest.fixture(autouse=True)
def _keep_modules(monkeypatch):
    for name in ("__main__", "submission"):
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name, sys))


def run(*cells, notebook=True, **options):
    texts = [Cell(f"<cell {n}>" if notebook else "a.py", text) for n, text in enumerate(cells, 1)]
    options = {"skip": [], "until": None, "started": lambda *_: None, "ignored": Ignored} | options
    done = run_definitions(Source(tuple(texts), notebook), **options)
    return done.module.__dict__, done.failed


def test_a_statement_that_raises_is_told_with_its_place_and_the_rest_runs():
    names, failed = run("a = 1\nb = 1 / 0\nc = 3", "d = a + c")
    assert names["d"] == 4 and "b" not in names
    assert [(each.place, each.kind, each.defines) for each in failed] == [
        ("cell 1, line 2", "ZeroDivisionError", ["b"])
    ]


def test_a_cell_that_does_not_parse_names_the_classes_it_would_have_defined():
    _, failed = run("x = 1", "class Sigmoid(:\n    pass")
    assert failed[0].place == "cell 2, line 1"
    assert failed[0].defines == ["Sigmoid"]


def test_nothing_that_parses_is_an_error_with_the_line():
    with pytest.raises(NothingParses, match=r"SyntaxError at line 2: .*"):
        run("x = 1\nx = = 2", notebook=False)


def test_code_that_exhausts_the_parser_is_called_nested_too_deeply():
    with pytest.raises(NothingParses, match=r"Error at line 1: .*nested"):
        run("x = " + "-" * 200_000 + "1", notebook=False)


def test_exits_and_hostile_messages_are_only_failures():
    hostile = "class E(Exception):\n    def __str__(self): raise ValueError\nraise E"
    _, failed = run("import sys\nsys.exit('bye')", hostile, "exit_code = 3")
    assert [each.kind for each in failed] == ["SystemExit", "E"]
    assert "could not be shown" in failed[1].text


def test_skipped_statements_do_not_run_and_until_ends_it():
    names, _ = run("a = 1\nb = 2\nc = 3\nd = 4", skip=[1], until=3)
    assert "a" in names and "c" in names
    assert "b" not in names and "d" not in names


def test_after_many_kills_only_definitions_run():
    names, _ = run("a = 1\nb = 2\nclass C: pass\ndef f(): pass", until=1)
    assert {"a", "C", "f"} <= set(names) and "b" not in names


def test_every_statement_is_announced_before_it_runs():
    seen: list[tuple[int, str]] = []
    run("a = 1", "b = 2\nc = 3", started=lambda index, place: seen.append((index, place)))
    assert seen == [(0, "cell 1, line 1"), (1, "cell 2, line 1"), (2, "cell 2, line 2")]


def test_future_imports_hold_for_what_follows():
    names, failed = run(
        "from __future__ import annotations\ndef f(x: Missing) -> Missing: ...", notebook=False
    )
    assert failed == [] and names["f"].__annotations__["x"] == "Missing"


def test_what_is_ignored_takes_what_depends_on_it_along_without_a_word():
    names, failed = run("def show(): raise E\ny = show()\nz = y + 1\nw = 5", ignored=NameError)
    assert failed == [] and names["w"] == 5


def test_the_last_definition_of_a_class_wins():
    names, _ = run("class A: x = 1", "class A: x = 2")
    assert names["A"].x == 2


@pytest.mark.parametrize(
    ("cell", "name", "value"),
    [
        ("%matplotlib inline\na = 1", "a", 1),
        ("!pip install nothing\na = 1", "a", 1),
        ("a = 1\n?a", "a", 1),
        ("a = 1\na?", "a", 1),
        ("%%time\na = 1", "a", 1),
        ("\n%%capture out\na = 1", "a", 1),
        ("if True:\n    %time 1 + 1\n    a = 1", "a", 1),
        ("a = 1\nb = !ls", "b", []),
        ("a = '''\n%not a magic\n'''", "a", "\n%not a magic\n"),
        ("a = 7\\\n% 4", "a", 3),
        ("%matplotlib inline\na = 'cost = %f' % 2", "a", "cost = 2.000000"),
        ("%matplotlib inline\na = 3  # is that right?", "a", 3),
    ],
)
def test_what_only_ipython_understands_is_left_out(cell, name, value):
    names, failed = run(cell)
    assert failed == [] and names[name] == value


@pytest.mark.parametrize("cell", ["%%bash\nrm -rf /", "%%html\n<b>", "%%javascript\nalert(1)"])
def test_cells_in_another_language_are_not_run(cell):
    assert run(cell, "a = 1")[1] == []


@pytest.mark.parametrize(
    ("cell", "name", "value"),
    [
        ("!pip install \\\n  seaborn \\\n  tqdm\na = 1", "a", 1),
        ("%time a = 1", "a", 1),
        ("%%timeit -n 2\na = 1", "a", 1),
        ("%%capture out\na = 1\n", "a", 1),
        ("%timeit -n 10 -r 3 print(1)\na = 1", "a", 1),
        ("a = %time 2 + 3", "a", 5),
        (">>> a = 1\n>>> if a:\n...     a = 2", "a", 2),
        ("get_ipython().run_line_magic('time', 'a = 4')", "a", 4),
        ("a = len(get_ipython().getoutput('ls'))", "a", 0),
    ],
)
def test_python_that_a_magic_carries_runs(cell, name, value):
    names, failed = run(cell)
    assert failed == [] and names[name] == value


def test_of_an_import_what_is_there_is_imported_and_the_rest_says_so_when_it_is_used():
    names, failed = run(
        "import json, not_there as n, math",
        "def f(x: n.Frame): return n.mean(x)",
        "n.show()",
        "import json.not_there, os",
        "from math import nothing_such, pi",
    )
    assert [each.place for each in failed] == [f"cell {n}, line 1" for n in (1, 3, 4, 5)]
    assert "no module not_there where this is graded" in failed[1].text
    assert names["math"].pi == names["pi"] and names["json"].dumps and names["os"].sep
    assert not isinstance(1, names["n"].Frame) and "nothing_such" not in names
    with pytest.raises(ModuleNotFoundError, match="no module not_there"):
        names["f"](1)


def test_what_needs_something_from_further_down_is_run_again_with_advice():
    names, failed = run(
        "class A(B): pass", "def f(x=C): return x", "f(Missing)", "class B: pass", "C = B()"
    )
    assert issubclass(names["A"], names["B"]) and names["f"]() is names["C"]
    assert [(each.place, each.kind) for each in failed] == [
        ("cell 1, line 1", "later"),
        ("cell 2, line 1", "later"),
        ("cell 3, line 1", "NameError"),
    ]
    assert "it needs B, which is defined below, in cell 4" in failed[0].text


def test_what_killed_when_it_was_run_again_is_skipped_by_its_number():
    seen: list[int] = []
    cells = ("class A(Base): pass", "class B(Base): pass", "class Base: pass")
    names, failed = run(*cells, skip=[3], started=lambda index, _: seen.append(index))
    assert seen == [0, 1, 2, 4] and "A" not in names and "B" in names
    names, failed = run("x = Base()", *cells, until=4)
    assert "x" not in names and "A" in names
    assert [each.kind for each in failed] == ["NameError", "later", "later"]


def test_what_cannot_be_run_again_says_where_its_name_is_defined():
    names, failed = run("print(late)", "class A(late): pass", "class A: x = 1", "late = 5")
    assert names["A"].x == 1
    assert all("it is defined below, in cell 4" in each.text for each in failed)


@pytest.mark.parametrize(
    ("statement", "version"),
    [
        ("""print(f"{d["k"]}")""", (3, 12)),
        ("type Number = int | float", (3, 12)),
        ("def f[T](x: T) -> T:\n    return x", (3, 12)),
        ("@property\ndef g():\n    return t'{d}'", (3, 14)),
        ("try:\n    d\nexcept ValueError, TypeError:\n    pass", (3, 14)),
    ],
)
def test_syntax_of_a_newer_python_costs_its_statement_only(statement, version):
    if sys.version_info >= version:
        pytest.skip("this Python knows it")
    text = f"d = {{'k': 1}}\n{statement}\nclass A:\n    x = 1\n"
    names, (failed,) = run(text, notebook=False)
    assert names["A"].x == names["d"]["k"] == 1 and failed.place.startswith("line ")
    this = "{}.{}".format(*sys.version_info)
    assert (
        f"written for Python {version[0]}.{version[1]} and graded with Python {this}" in failed.text
    )
    _, failed = run(text + "x = = 2\n", "a = 1")
    assert [each.text for each in failed] == ["invalid syntax"] or "graded" not in failed[0].text
