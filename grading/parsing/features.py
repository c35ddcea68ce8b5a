"""The features of a submission that are compared with others', read without running it.

A source can exhaust whatever parses it, so this runs where other people's files are parsed.
"""

import ast
import copy
import hashlib
import io
import tokenize
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from grading.parsing.choosing import ANYTHING, Sought, chosen_file
from grading.parsing.magics import plain_python
from grading.parsing.source import File, read_source

# Of each kind of detail, and of each text.
MOST_DETAILS = 300
MOST_CHARACTERS = 200
LEAST_NAME = 3
LEAST_STRING = 6


Text = Annotated[str, msgspec.Meta(max_length=MOST_CHARACTERS)]
Texts = Annotated[list[Text], msgspec.Meta(max_length=MOST_DETAILS)]


class Details(msgspec.Struct, frozen=True):
    """What can be compared: digests of the file, of the code's text, and of each function.

    ``units`` maps a digest of a function, names, comments and docstrings aside, to what it is
    called and how many nodes it has. The rest are words of the student's own choice.
    """

    file: Text = ""
    text: Text = ""
    units: Annotated[dict[Text, tuple[Text, int]], msgspec.Meta(max_length=MOST_DETAILS)] = {}
    comments: Texts = []
    names: Texts = []
    strings: Texts = []


def details_of(files: Sequence[File], sought: Sought = ANYTHING) -> Details:
    """Return the details of the file that is the work. Raise Unreadable if there is none to use."""
    file = chosen_file(files, sought)
    source = read_source(file.name, file.data)
    texts = [plain_python(cell.text) if source.notebook else cell.text for cell in source.cells]
    trees = [tree for tree in map(_parsed, texts) if tree]
    bound = {name for tree in trees for name in _bound(tree)}
    units: dict[str, tuple[str, int]] = {}
    for tree in trees:
        for name, function in _functions(tree):
            bare = _Bare(bound).visit(copy.deepcopy(function))
            if not _is_stub(bare):
                size = sum(1 for _ in ast.walk(bare))
                units[_sha(ast.dump(bare).encode())] = (name[:MOST_CHARACTERS], size)
    return Details(
        file=_sha(file.data),
        text=_sha("\n".join(texts).encode()),
        units=dict(list(units.items())[:MOST_DETAILS]),
        comments=_few(comment for text in texts for comment in _comments(text)),
        names=_few(name for name in bound if len(name) >= LEAST_NAME),
        strings=_few(text for tree in trees for text in _strings(tree)),
    )


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names that code binds, except for the methods of classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.FunctionDef):
            yield node.name


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a module and its classes, without forward, which is given."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name != "forward":
                    yield f"{node.name}.{inner.name}", inner


class _Bare(ast.NodeTransformer):
    """Removes what can change without changing what code does.

    Names are replaced by their order of appearance; docstrings and annotations go.
    """

    def __init__(self, bound: set[str]) -> None:
        self._bound = bound
        self._order: dict[str, str] = {}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._new(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg, node.annotation = self._new(node.arg), None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        node.returns = None
        self.generic_visit(node)
        node.name = self._new(node.name)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign([node.target], node.value, lineno=0))  # type: ignore[no-any-return]

    def _new(self, name: str) -> str:
        if name not in self._bound:
            return name
        return self._order.setdefault(name, f"v{len(self._order)}")


def _is_stub(function: ast.FunctionDef) -> bool:
    return len(function.body) == 1 and isinstance(function.body[0], ast.Raise | ast.Pass)


def _comments(text: str) -> Iterator[str]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield " ".join(token.string.lstrip("#").split())
    except (tokenize.TokenError, SyntaxError):
        return


def _strings(tree: ast.Module) -> Iterator[str]:
    """Yield strings that are values: no docstrings, and not Python's own ``__main__``."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in alone:
            value = node.value
            if isinstance(value, str) and len(value) >= LEAST_STRING and value[:2] != "__":
                yield value


def _few(texts: Iterator[str]) -> list[str]:
    found = {text[:MOST_CHARACTERS] for text in texts if text}
    return sorted(text.encode("utf-8", "replace").decode() for text in found)[:MOST_DETAILS]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
