"""The top-level statements of a text, and how one is run."""

from __future__ import annotations
import __future__

import ast
import re
import sys
from collections.abc import Iterator
from typing import Any

from grading.confined.stand_ins import Missing
from grading.parsing.magics import logical_lines

# What newer versions of Python have added to the language, as far as code for them is handed in.
_NEWER = (
    ((3, 12), re.compile(r"^[ \t]*type[ \t]+\w+[ \t]*(?:\[.*\][ \t]*)?=(?!=)", re.MULTILINE)),
    ((3, 12), re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+[ \t]*\[", re.MULTILINE)),
    # Bounded: a text can have very many beginnings of f-strings.
    ((3, 12), re.compile(r'\b[fF][rR]?"[^{\n]{0,300}\{[^}\n"\\]{0,300}["\\][^}\n]{0,300}\}')),
    ((3, 12), re.compile(r"\b[fF][rR]?'[^{\n]{0,300}\{[^}\n'\\]{0,300}['\\][^}\n]{0,300}\}")),
    ((3, 14), re.compile(r"""(?<![\w"'])[tT][rR]?["']""")),
    ((3, 14), re.compile(r"^[ \t]*except[ \t]+[\w.]+[ \t]*,[^()\n]*:", re.MULTILINE)),
)
_GOES_ON = re.compile(r"[ \t#)\]}\n]|(?:else|elif|except|finally)\b")


def newer_python(text: str) -> str:
    """Return the version of Python that code is written for, if it is newer than this one."""
    versions = [version for version, syntax in _NEWER if syntax.search(text)]
    newest = max(versions, default=(3, 0))
    return f"{newest[0]}.{newest[1]}" if newest > sys.version_info[:2] else ""


def statements(text: str, name: str) -> tuple[list[ast.stmt], list[tuple[str, SyntaxError]]]:
    """Return the statements of a text, and those that only a newer Python can parse.

    Raise SyntaxError, ValueError, RecursionError or MemoryError for a text that no Python can.
    """
    try:
        return ast.parse(text, name).body, []
    except SyntaxError:
        if not newer_python(text):
            raise
    found: list[ast.stmt] = []
    lost: list[tuple[str, SyntaxError]] = []
    for line, piece in _pieces(text):
        try:
            nodes = ast.parse(piece, name).body
        except SyntaxError as error:
            if not (version := newer_python(piece)):
                ast.parse(text, name)
                raise
            error.lineno = line + (error.lineno or 1)
            this = f"{sys.version_info[0]}.{sys.version_info[1]}"
            error.msg += f"; it is written for Python {version} and graded with Python {this}"
            lost.append((piece, error))
        else:
            found += (ast.increment_lineno(node, line) for node in nodes)
    return found, lost


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield each top-level statement with the number of lines before it."""
    starts: list[int] = []
    decorated = False
    for start, end in logical_lines(text):
        if not _GOES_ON.match(text, start, end):
            if not decorated:
                starts.append(start)
            decorated = text[start] == "@"
    line = 0
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        yield line, text[start:end]
        line += text.count("\n", start, end)


def future(node: ast.stmt) -> int:
    """Return the flags of what a statement imports from the future, for what follows it."""
    its = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    names = [alias.name for alias in node.names] if its else []  # type: ignore[attr-defined]
    return sum({getattr(getattr(__future__, name, 0), "compiler_flag", 0) for name in names})


def run_statement(node: ast.stmt, name: str, flags: int, names: dict[str, Any]) -> None:
    """Run a statement of the file called ``name``.

    Of an import, all that is there is imported, a stand-in takes the place of the rest, and the
    first error is raised.
    """
    if isinstance(node, ast.ImportFrom) and node.level == 1 and not names.get("__package__"):
        # It was part of a package, and was handed in without what makes it one.
        node.level = 0
        node = node if node.module else ast.copy_location(ast.Import(node.names), node)
    try:
        _execute(node, name, flags, names)
    except ImportError:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            raise
        for alias in node.names:
            try:
                _execute(_with(node, alias), name, flags, names)
            except ModuleNotFoundError as missing:
                bound = alias.asname or alias.name.partition(".")[0]
                its = isinstance(node, ast.Import) and sys.modules.get(bound)
                names[bound] = its or Missing(missing.name or alias.name)
            except ImportError:
                continue
        raise


def _with(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.copy_location(ast.Import([alias]), node)
    return ast.copy_location(ast.ImportFrom(node.module, [alias], node.level), node)


def _execute(node: ast.stmt, name: str, flags: int, names: dict[str, Any]) -> None:
    code = compile(ast.Module([node], []), name, "exec", flags=flags, dont_inherit=True)
    exec(code, names)
