"""A cell as Python, by the rules of Jupyter, whose own are the measure."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.parsing.magics import plain_python

CARRYING = ("time", "timeit", "prun")


class Shell:
    """What IPython's calls do here: run the Python that they carry, and nothing else."""

    def __init__(self, names):
        self.names = names
        self.magics = pytest.importorskip("IPython.core.inputtransformer2").TransformerManager()

    def run(self, cell):
        exec(compile(self.magics.transform_cell(cell), "cell", "exec"), self.names)

    def run_line_magic(self, name, line):
        if name in CARRYING:
            code = line.split("-n 2 ")[-1]
            try:
                ast.parse(code)
            except SyntaxError:
                return None
            exec(code, self.names)
            try:
                return eval(code, self.names) if name == "time" else None
            except SyntaxError:
                return None
        return None

    def run_cell_magic(self, name, line, body):
        if name in (*CARRYING, "capture"):
            self.run(body)
            if name == "capture" and line:
                self.names[line] = "captured"

    def getoutput(self, _command):
        return []

    def system(self, _command):
        return None


LINES = st.sampled_from(
    [
        "a = 1",
        "b = (2,",
        "  3)",
        "if True:",
        "    a = 2",
        "    %time c = 3",
        "    !echo 'it",
        "    d = !ls \\",
        "%time a = 4; e = 5",
        "%timeit -n 2 a",
        "%matplotlib inline",
        "!pip install \\",
        "   one \\",
        "   two",
        "f = %time 6",
        "f = %env HOME",
        "t = '''",
        "%time in a string",
        "'''",
        "g = 7 \\",
        "% 4",
        "a?",
        "?a",
        "a.real??",
        "h = 'what?' # is it?",
        "h = 'what",
        "",
        "# !comment",
        "/print a",
        ",print a b",
        ";print a b",
        "%%time",
        "%%capture out",
        "%%bash",
        "i = {'k': [1]}",
        "j = i['k'][0] % 2",
        '!ls "unclosed',
        "    k = 9",
    ]
)


def names_after(run):
    """The names that code defines, and whether it parsed."""
    names: dict[str, object] = {}
    try:
        run(names)
    except SyntaxError:
        return None
    except Exception as error:
        names["raised"] = type(error).__name__
    names.pop("__builtins__", None)
    names.pop("get_ipython", None)
    names.pop("__doc__", None)  # a text alone at the top
    return {name: value for name, value in names.items() if name != "out"}


@given(st.lists(LINES, min_size=1, max_size=7))
def test_cells_do_as_they_do_in_jupyter(lines):
    cell = "\n".join(lines)

    def jupyter(names):
        shell = Shell(names)
        names["get_ipython"] = lambda: shell
        shell.run(cell)

    def here(names):
        names["get_ipython"] = lambda: None
        exec(compile(plain_python(cell), "cell", "exec"), names)

    assert names_after(here) == names_after(jupyter)


@given(st.text(alphabet="a=1 \n%!?'\"(:\\#>", max_size=60))
def test_every_line_stays_where_it_was(text):
    left = plain_python(text)
    assert left == "" or left.count("\n") == text.count("\n")


def test_a_long_cell_takes_no_longer_than_its_length():
    for text in ("x = 1\n" * 200_000, "\n" * 500_000 + "%a", " " * 500_000 + "x = 1\n?"):
        assert plain_python(text).count("\n") == text.count("\n")
