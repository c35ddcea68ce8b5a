"""Reads a stage's own code, and the helpers it uses, for what an assignment may not allow.

This is done in the student's process: there names can be looked up without running anything, and a
source that exhausts the reader harms nobody else. Only what forward and backward lead to is read:
comparing with autograd beside the classes is good practice.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import linecache
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from pkgutil import resolve_name
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch._ops import OpOverload, OpOverloadPacket
from torch.autograd import Function

from harness.candidate.introspection.quotients import difference_quotients
from harness.candidate.lines import code_at, is_students, place_of
from harness.candidate.operations import Seen

MOST_FUNCTIONS = 60
MOST_NODES = 20_000
MOST_CHARACTERS = 500_000
MOST_SEEN = 20
METHODS = ("forward", "setup_context", "backward", "vjp", "apply")

# What is reported, by its true name, whatever the student calls it.
NAMES = """
gc.get_objects gc.get_referents gc.get_referrers inspect.currentframe inspect.getframeinfo
inspect.getouterframes inspect.stack inspect.trace sys._current_frames sys._getframe
sys.setprofile sys.settrace torch.Tensor.backward torch.autograd.backward
torch.autograd.functional.hessian torch.autograd.functional.hvp
torch.autograd.functional.jacobian torch.autograd.functional.jvp torch.autograd.functional.vhp
torch.autograd.functional.vjp torch.autograd.grad torch.enable_grad torch.func.grad
torch.func.grad_and_value torch.func.hessian torch.func.jacfwd torch.func.jacrev torch.func.jvp
torch.func.linearize torch.func.vjp traceback.extract_stack traceback.format_stack
traceback.walk_stack
"""
NAMED = {id(resolve_name(name)): name for name in NAMES.split()}
_IMPORTERS = (builtins.__import__, importlib.import_module)
MODULES = ("ctypes", "torch.autograd.forward_ad")
FRAMES = ("f_back", "f_locals", "tb_frame", "gi_frame", "cr_frame")


def named_by(function: type[Function]) -> tuple[Seen, ...]:
    """Return what the class's forward and backward, and the helpers they use, name."""
    found: dict[Seen, None] = {}
    queue = deque(_methods(function))
    met: set[CodeType] = set()
    while queue and len(met) < MOST_FUNCTIONS:
        each = queue.popleft()
        if each.__code__ in met:
            continue
        met.add(each.__code__)
        for text in _texts(each):
            found |= dict.fromkeys(text.seen())
            queue.extend(text.used)
    return tuple(islice(found, MOST_SEEN))


def _methods(function: type[Function]) -> Iterator[FunctionType]:
    for each in function.__mro__:
        for name in METHODS:
            yield from _own_functions(each.__dict__.get(name))
        # Of a pair, these are what the class calls.
        for own in each.__dict__.get("functions", ()):
            yield from _own_functions(own)


def _own_functions(value: object) -> Iterator[FunctionType]:
    """Yield the student's functions behind a value: itself, wrapped, bound, or in a partial."""
    for _ in range(MOST_FUNCTIONS):
        if isinstance(value, FunctionType) and is_students(value.__code__.co_filename):
            yield value
            return
        if isinstance(value, staticmethod | classmethod | MethodType):
            value = value.__func__
        elif isinstance(value, functools.partial):
            yield from (each for part in value.args for each in _own_functions(part))
            value = value.func
        elif isinstance(value, FunctionType):
            value = value.__dict__.get("__wrapped__")
        else:
            return


def _texts(function: FunctionType) -> Iterator[_Text]:
    """Yield the function as it is in its source; every lambda if its line has several."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename))
    if len(text) > MOST_CHARACTERS:
        return
    for node in _definitions(text).get(code.co_firstlineno, []):
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        if name == code.co_name:
            yield _Text(function, node)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@functools.lru_cache(maxsize=4)
def _definitions(text: str) -> Mapping[int, list[_Definition]]:
    """Return the functions of a source by the line they start on; none if it does not parse."""
    found: dict[int, list[_Definition]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, _Definition):
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            first = min(each.lineno for each in (node, *decorators))
            found.setdefault(first, []).append(node)
    return found


class _Text:
    """One function of a student's: its syntax tree, and what its names stand for."""

    def __init__(self, function: FunctionType, node: _Definition) -> None:
        self._function = function
        self._nodes = list(islice(ast.walk(node), MOST_NODES))
        self._cells: dict[str, CellType] = dict(
            zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        )
        self._local: dict[str, object] = {}
        self._constants: dict[str, object] = {}
        self.used: list[FunctionType] = []
        self._bind()

    def seen(self) -> Iterator[Seen]:
        """Yield what it names; ``used`` then holds the student's functions that it uses."""
        for node in self._nodes:
            if isinstance(node, ast.Name | ast.Attribute | ast.Call) and (what := self._what(node)):
                yield self._at(node, what)
        for node in difference_quotients(self._nodes, self._number):
            yield self._at(node, "a difference quotient")

    def _at(self, node: Any, what: str) -> Seen:
        where = self._function.__code__.co_filename, node.lineno
        return Seen(what, place_of(*where), code_at(*where))

    def _what(self, node: ast.Name | ast.Attribute | ast.Call) -> str:
        match node:
            case ast.Call(func=ast.Attribute(attr="backward") as called):
                return self._backward_of(node, called)
            case (
                ast.Call(func=ast.Attribute(attr="grad_fn"))
                | ast.Call(func=ast.Attribute(value=ast.Attribute(attr="grad_fn"), attr="apply"))
                | ast.Attribute(attr="next_functions")
            ):
                return "grad_fn"
            case ast.Attribute(attr=name) if name in FRAMES:
                return name
        if (value := self._value(node)) is None:
            return ""
        self.used += _own_functions(value)
        return _name_of(value)

    def _backward_of(self, call: ast.Call, called: ast.Attribute) -> str:
        """Name a tensor's own backward, unlike that of another class, which is given ctx."""
        to = self._value(called.value)
        if isinstance(to, type):
            self.used += _own_functions(_member(to, "backward"))
            return ""
        parameters = self._function.__code__.co_varnames[:1]
        first = call.args[0] if call.args else None
        given_ctx = isinstance(first, ast.Name) and first.id in (*parameters, "ctx")
        inherited = isinstance(called.value, ast.Call) and _is_name(called.value.func, "super")
        return "" if given_ctx or inherited else "torch.Tensor.backward"

    def _value(self, node: ast.AST) -> object:
        """Return the value of an expression without running anything; None if unknown."""
        match node:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(value=base, attr=name):
                return _member(self._value(base), name)
            case ast.Call(func=called, args=[base, ast.Constant(str(name))]) if _is_name(
                called, "getattr"
            ):
                return _member(self._value(base), name)
            case ast.Call(func=called):
                return self._made_by(self._value(called), node)
        return None

    def _made_by(self, called: object, call: ast.Call) -> object:
        """Return what a call returns: an imported module, or for one of their classes the class."""
        match call.args:
            case [ast.Constant(str(name)), *_] if any(called is each for each in _IMPORTERS):
                return sys.modules.get(name)
        return called if isinstance(called, type) and _is_own_class(called) else None

    def _named(self, name: str) -> object:
        if name in self._local:
            return self._local[name]
        if name in self._cells:
            return _content(self._cells[name])
        given = self._function.__globals__
        return given[name] if name in given else getattr(builtins, name, None)

    def _bind(self) -> None:
        """Learn the names bound inside, and their values where an import or assignment tells."""
        bound = self._local
        aliases: list[tuple[str, ast.expr]] = []
        for node in self._nodes[1:]:
            match node:
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                    bound.setdefault(name, None)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    bound.setdefault(name, None)
                case ast.Import() | ast.ImportFrom():
                    bound |= _imported(node)
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=constant)):
                    self._constants[name] = constant
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    aliases.append((name, value))
                case ast.arguments():
                    self._learn_defaults(node)
        for name, value in aliases:
            if bound.get(name) is None:
                bound[name] = self._value(value)

    def _learn_defaults(self, given: ast.arguments) -> None:
        positional = [*given.posonlyargs, *given.args]
        pairs = [*zip(reversed(positional), reversed(given.defaults), strict=False)]
        for argument, default in [*pairs, *zip(given.kwonlyargs, given.kw_defaults, strict=True)]:
            if isinstance(default, ast.Constant):
                self._constants[argument.arg] = default.value

    def _number(self, name: str) -> object:
        """Return the constant that a name stands for, or its value if it is not local."""
        if name in self._constants:
            return self._constants[name]
        return None if name in self._local else self._named(name)


def _name_of(value: object) -> str:
    """Return the name to report for a value, "" if it is not reported."""
    if isinstance(value, OpOverload | OpOverloadPacket) and "_backward" in str(value):
        return str(value).removesuffix(".default")
    if isinstance(value, ModuleType) and value.__name__ in MODULES:
        return value.__name__
    known = NAMED.get(id(value), "")
    built_in = inspect.isbuiltin(value) and "_backward" in value.__name__
    return known or (f"torch.{value.__name__}" if built_in else "")  # type: ignore[attr-defined]


def _member(base: object, name: str) -> object:
    """Return an attribute without running the student's code to get it."""
    if base is None:
        return None
    ops = isinstance(base, ModuleType) and base.__name__.startswith(("torch.ops", "torch._ops"))
    if ops or isinstance(base, OpOverloadPacket):
        return getattr(base, name, None)
    found = inspect.getattr_static(base, name, None)
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, object]:
    """Return what an import binds, of modules that are already loaded."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: sys.modules.get(
                alias.name if alias.asname else alias.name.split(".")[0]
            )
            for alias in node.names
        }
    module = sys.modules.get(node.module or "")
    return {
        alias.asname or alias.name: sys.modules.get(
            f"{node.module}.{alias.name}", _member(module, alias.name)
        )
        for alias in node.names
    }


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been put into it
        return None


def _is_own_class(value: type) -> bool:
    functions = (each for each in vars(value).values() if isinstance(each, FunctionType))
    return any(is_students(each.__code__.co_filename) for each in functions)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
