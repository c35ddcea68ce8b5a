"""Trace a function that uses stages into a `Network`, with torch.fx."""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain, count
from pathlib import Path
from types import FrameType
from typing import Any

from torch import fx
from torch.fx.node import Node, map_arg

from harness.candidate.glue import ATTRIBUTES, GLUE, given_index, glue_for
from harness.candidate.operations import Link, Value
from harness.course.network import Network
from harness.course.signature import read_dimensions
from harness.course.stage import Stage
from harness.errors import DeclarationError

_OURS = ("torch.", "harness.course.", "harness.declare")
# Glue that nobody writes by its name.
_HIDDEN = {"getattr", "getitem", "tuple"}
# What torch's functions pass on that their methods do not take.
_PASSED_ON = {"_stacklevel", "inplace"}


def caller(frame: FrameType) -> FrameType:
    """Return the frame of the code that called torch or this project."""
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        frame = frame.f_back
    return frame


def place_outside(frame: FrameType) -> str:
    """Return the file and line of the code that called torch or this project."""
    found = caller(frame)
    return _place(found.f_code.co_filename, found.f_lineno)


def trace(function: Callable[..., Any], parameters: Mapping[str, str]) -> Network:
    """Return the network that a function of its arguments computes.

    It returns the cost, or the cost and a prediction. ``parameters`` gives the dimensions of some
    arguments. Raise DeclarationError for anything that a network cannot hold.
    """
    code = function.__code__
    place = _place(code.co_filename, code.co_firstlineno)
    tracer = _Tracer()
    try:
        graph = tracer.trace(function)
    except DeclarationError:
        raise
    except Exception as error:
        for frame in traceback.extract_tb(error.__traceback__):
            if Path(frame.filename).parent == Path(code.co_filename).parent:
                place = _place(frame.filename, frame.lineno or 0)
        raise DeclarationError(f"{place}: {_in_words(error)}") from None
    try:
        links = _Links(tracer, graph)
        shapes = {x: read_dimensions(x, text) for x, text in parameters.items()}
    except ValueError as error:
        raise DeclarationError(f"{place}: {error}") from None
    name, said = function.__name__, ""
    if unknown := sorted(set(parameters) - set(links.arguments)):
        those = ", ".join(links.arguments)
        said = f"{unknown[0]} is not an argument of {name}; the arguments are {those}"
    elif unused := [str(x.target) for x in graph.nodes if x.op == "placeholder" and not x.users]:
        said = f"{', '.join(unused)} {'is' if len(unused) == 1 else 'are'} used nowhere in {name}"
    elif not links.stages:
        said = f"{name} uses no stage"
    elif not links.ends or not all(isinstance(each, str) for each in links.ends):
        said = f"{name} must return the cost, or the cost and a prediction"
    if said:
        raise DeclarationError(f"{place}: {said}")
    return Network(
        tuple(links.stages),
        tuple(links.arguments),
        tuple(links.made),
        links.ends[:1],
        links.given,
        (*links.ends, "")[1],
        shapes,
        place,
    )


class _Tracer(fx.Tracer):
    """Takes stages, and the operations of a closed list, and nothing else."""

    def create_node(
        self, kind: str, target: Any, args: tuple[Any, ...], *more: Any, **named: Any
    ) -> Node:
        """Return the node. Raise DeclarationError with the line of what a network cannot hold."""
        said = ""
        if kind == "placeholder" and str(target).startswith("*"):
            said = f"{target} is several arguments; name each of them"
        elif isinstance(target, Stage):
            said = _misfit(target, args)
        elif kind in ("call_function", "call_method"):
            glue, called = glue_for(target), getattr(target, "__name__", target)
            if not glue or (glue == "torch.getattr" and args[1] not in ATTRIBUTES):
                called = args[1] if glue else called
                names = sorted(each.removeprefix("torch.") for each in GLUE)
                known = ", ".join(each for each in names if each not in _HIDDEN)
                said = (
                    f"{called} cannot stand between the stages of a network: make it a part of a "
                    f"stage, or use indexing, {', '.join(ATTRIBUTES)}, {known}"
                )
        if said:
            raise DeclarationError(f"{place_outside(sys._getframe(1))}: {said}")
        return super().create_node(kind, target, args, *more, **named)


def _misfit(stage: Stage, args: tuple[Any, ...]) -> str:
    """Return what is wrong with the number of arguments, "" if nothing is."""
    several = any(each.several for each in stage.inputs.values())
    count = len(stage.inputs)
    if any(isinstance(each, list | tuple) and _has_nodes(each) for each in args):
        return f"{stage.name} takes each tensor as an argument of its own: write *tensors"
    if len(args) == count or (several and len(args) >= count):
        return ""
    return f"{stage.name} takes {', '.join(stage.inputs)}, and is given {len(args)} arguments"


class _Links:
    """The links of a traced graph, with a name for every value."""

    def __init__(self, tracer: _Tracer, graph: fx.Graph) -> None:
        self.root: Any = tracer.root
        self.arguments: list[str] = []
        self.stages: list[Stage] = []
        self.made: list[Link] = []
        self.given: dict[str, Value] = {}
        self.ends: tuple[Any, ...] = ()
        self._names: dict[Node, Any] = {}
        self._taken = {str(node.target) for node in graph.nodes if node.op == "placeholder"}
        self._counts = Counter(base for node in graph.nodes for base in _bases(node))
        for node in graph.nodes:
            self._add(node)

    def _add(self, node: Node) -> None:
        match node.op:
            case "placeholder":
                self.arguments.append(str(node.target))
                self._names[node] = str(node.target)
            case "get_attr":
                self._names[node] = self._given(getattr(self.root, str(node.target)))
            case "output":
                found: Any = node.args[0]
                found = found if isinstance(found, tuple) else (found,)
                if all(isinstance(each, Node) for each in found) and len(found) <= 2:
                    self.ends = tuple(self._names[each] for each in found)
            case _ if isinstance(node.target, Stage):
                self._add_stage(node, node.target)
            case _:
                self._add_glue(node)

    def _add_stage(self, node: Node, stage: Stage) -> None:
        if stage not in self.stages:
            self.stages.append(stage)
        outputs = tuple(map(self._fresh, stage.outputs))
        inputs = tuple(self._value(each) for each in node.args)
        self.made.append(Link(stage.name, inputs, outputs))
        self._names[node] = outputs[0] if len(outputs) == 1 else outputs

    def _add_glue(self, node: Node) -> None:
        glue = glue_for(node.target)
        if glue == "torch.getitem":
            of, index = node.args
            outputs = self._names[of] if isinstance(of, Node) else ()
            if isinstance(outputs, tuple) and isinstance(index, int):
                self._names[node] = outputs[index]
                return
            args = (of, index if isinstance(index, Node) else _indices(index))
        else:
            args = node.args  # type: ignore[assignment]
        named = {
            name: value
            for name, value in node.kwargs.items()
            if name not in _PASSED_ON and value is not None
        }
        inputs = [self._value(each) for each in args]
        inputs += [f"{name}={self._value(each)}" for name, each in named.items()]
        name = self._fresh(_bases(node)[0])
        self.made.append(Link(glue, tuple(inputs), (name,)))
        self._names[node] = name

    def _value(self, value: Any) -> str:
        """Return the name of a value, which is given if it is not computed."""
        if isinstance(value, Node):
            name = self._names[value]
            if isinstance(name, tuple):
                of = getattr(value.target, "name", "")
                raise ValueError(f"{of} has several outputs: write {', '.join(name)} = …")
            return str(name)
        if isinstance(value, list | tuple) and _has_nodes(value):
            name = self._fresh("tuple")
            self.made.append(Link("torch.tuple", tuple(map(self._value, value)), (name,)))
            return name
        return self._given(tuple(value) if isinstance(value, list) else value)

    def _fresh(self, base: str) -> str:
        """Return a name for a value: that of the output, numbered unless it is the only one."""
        numbered = (f"{base}{number}" for number in count(1))
        names = chain([base] if self._counts[base] <= 1 else [], numbered)
        name = next(each for each in names if each not in self._taken)
        self._taken.add(name)
        return name

    def _given(self, value: Any) -> str:
        name = f"_{len(self.given) + 1}"
        self.given[name] = value
        return name


def _bases(node: Node) -> tuple[str, ...]:
    if isinstance(node.target, Stage):
        return node.target.outputs
    if not node.op.startswith("call"):
        return ()
    glue = glue_for(node.target).removeprefix("torch.")
    return (str(node.args[1]) if glue == "getattr" else "item" if glue == "getitem" else glue,)


def _indices(index: Any) -> Any:
    if _has_nodes(index):
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(each, slice) and _has_nodes(each) for each in parts):
            raise ValueError("a slice in a network needs numbers that are written out")
        return tuple(each if isinstance(each, Node) else given_index(each) for each in parts)
    return given_index(index)


def _has_nodes(value: Any) -> bool:
    found: list[Node] = []
    map_arg(value, found.append)
    return bool(found)


def _place(filename: str, line: int) -> str:
    path = Path(filename)
    return f"{path.parent.name}/{path.name}, line {line}"


def _in_words(error: Exception) -> str:
    said = str(error)
    if isinstance(error, fx.proxy.TraceError) or "symbolic tracing" in said:
        return (
            "a network must do the same for all values: no if, while, for or len() that depends on "
            "a tensor"
        )
    return f"the network cannot be traced: {type(error).__name__}: {said}"
