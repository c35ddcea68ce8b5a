"""What an instructor declares an assignment with, in ``solutions/NAME/assignment.py``.

The file defines ``ASSIGNMENT``::

    relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
    ASSIGNMENT = assignment("Rectifiers", [relu])
"""

import ast
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from keyword import iskeyword
from pathlib import Path
from typing import Any, Literal

import torch

from harness.candidate.forms import Pair
from harness.course.assignment import Assignment
from harness.course.detective import CASES, Detective
from harness.course.inputs import Given, Input, Kind, Mask, Real, Sampler, Sizes, Whole, spread
from harness.course.signature import read_signature
from harness.course.stage import Mistake, Stage
from harness.course.tasks import task_of
from harness.course.tracing import caller, place_outside, trace
from harness.errors import DeclarationError, did_you_mean
from harness.judging.validation import visible_mistakes
from harness.mistakes import mistakes_in, with_own_mistakes
from harness.training.table import Source, Start, Training
from harness.training.task import Task
from harness.updates import Optimizer
from harness.updates.recorded import RecordedSteps

__all__ = [
    "DeclarationError",
    "Mistake",
    "assignment",
    "buffer",
    "classify",
    "constant",
    "detective",
    "indices",
    "labels",
    "mask",
    "optimizer",
    "pair",
    "positive",
    "real",
    "regress",
    "simplex",
    "stage",
    "target",
]

Choices = Sequence[Any]
# A wrong backward: its wrong gradients, or the name of a mistake that is known for its stage.
Wrong = Mapping[str, str] | str
REAL = Real()


def stage(
    name: str,
    signature: str,
    forward: Callable[..., Any],
    *,
    inputs: Mapping[str, Kind | Choices] | None = None,
    gradients: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
    sizes: str = "",
    formula: str = "",
    extremes: Mapping[str, Sequence[float]] | None = None,
    points: Mapping[str, float] | None = None,
    mistakes: Iterable[Mistake] = (),
    ties: Literal["any", "reference"] = "any",
    work: str = "backward",
) -> Stage:
    """Declare a stage: a class ``name`` that students write as a ``torch.autograd.Function``.

    Parameters
    ----------
    name
        The class's name.
    signature
        The arguments of ``apply`` and what it returns, as in ``"x[N D], w[D K], b?[K] -> z"``:
        ``x[N D]`` is a tensor of shape (N, D), ``y[]`` a 0-dim one, ``b?[K]`` one that may be None,
        ``xs*[N D]`` a variable number of tensors, and a bare name a given Python value. A
        dimension is a name, a number, or an expression in brackets, as in ``w[(4 * H) D]``.
    forward
        The function itself, in plain differentiable torch. It returns a tensor for each output.
    inputs
        The kind of each input that is not a real tensor, such as ``labels("K")``; of a given
        value, the list of those that it may have.
    gradients
        The true ∂C/∂x of an input, as a torch expression: see `Stage`. They may be left out.
    where
        Names for parts of these expressions, each over those before it.
    sizes
        Conditions between dimensions and given values, as in ``"R <= H + 2 * padding"``, separated
        by commas.
    formula
        What forward computes, for people. By default, the outputs as functions of the inputs.
    extremes
        Values of an input, such as ``(-800, 800)``, near which results must be finite and right.
    points
        Points for the gradient of an input.
    mistakes
        Mistakes that students make, with a hint for each.
    ties
        "reference" if at a kink only the reference's own gradient is right, and not any other
        value between the slopes on both sides.
    work
        "forward, backward" if students write both. A handout then has recorded cases in place of
        the forward, and no ``gradients``, ``where`` and ``mistakes``, which tell of it; ``points``
        can have "forward", which by default is worth as much as a gradient.

    Raises
    ------
    DeclarationError
        If anything of it cannot be used.
    """
    kinds = inputs or {}
    try:
        found, outputs = read_signature(signature)
        if unknown := sorted(set(kinds) - set(found)):
            raise ValueError(f"{unknown[0]} is not an input; the inputs are {', '.join(found)}")
        of_kind = {key: _of_kind(each, kinds.get(key)) for key, each in found.items()}
        called = f"{name}({', '.join(found)})"
        works = {each.strip() for each in work.split(",")}
        if "backward" not in works or works - {"forward", "backward"}:
            raise ValueError(f'work is {work!r}: say "backward" or "forward, backward"')
        return Stage(
            name,
            formula or f"{', '.join(outputs)} = {called}",
            of_kind,
            outputs,
            forward,
            gradients=gradients or {},
            points=points or {},
            extremes={key: tuple(values) for key, values in (extremes or {}).items()},
            mistakes=tuple(mistakes),
            where=where or {},
            conditions=tuple(each.strip() for each in sizes.split(",") if each.strip()),
            ties=ties,
            place=_place(),
            forward_is_work="forward" in works,
        )
    except (ValueError, NameError, SyntaxError, TypeError) as error:
        raise DeclarationError(f"{_place()}: {name}: {error}") from None


def pair(
    name: str,
    signature: str,
    forward: Callable[..., Any],
    *,
    arrays: Literal["numpy", "torch"] = "numpy",
    upstream: bool = True,
    pack: Mapping[str, Mapping[str, str]] | None = None,
    functions: Sequence[str] = (),
    **more: Any,
) -> Stage:
    """Declare a stage that students write as a pair of functions with a cache.

    They are ``affine_forward(x, w, b)``, which returns the output and a cache, and
    ``affine_backward(dout, cache)``, which returns a gradient for each input that has one. Of
    several outputs forward returns each before the cache: ``h, c, cache``, and backward takes
    ``dh, dc, cache``.

    Parameters
    ----------
    name
        What the functions' names begin with, such as "affine".
    signature, forward, more
        As of `stage`.
    arrays
        Whether tensors are numpy arrays or torch's.
    upstream
        False of a cost that is a single function, which is called ``name`` and returns the cost and
        its gradient: ``softmax_loss(x, y)``. The upstream gradient ``g`` of expressions is 1 there.
    pack
        Dictionaries that stand for some inputs, at the end: by the name of each, its keys with the
        names of inputs, as in ``{"conv_param": {"stride": "stride", "pad": "padding"}}``.
    functions
        The functions' own names, if they are others.

    Raises
    ------
    DeclarationError
        If anything of it cannot be used.
    """
    names = tuple(functions) or ((f"{name}_forward", f"{name}_backward") if upstream else (name,))
    made = stage(name, signature, forward, **more)
    packed = tuple((key, tuple(inside.items())) for key, inside in (pack or {}).items())
    called = {each for _, inside in packed for _, each in inside}
    if unknown := sorted(called - set(made.inputs)):
        raise DeclarationError(f"{_place()}: {name}: {unknown[0]}, in pack, is not an input")
    if len(names) != 1 + upstream:
        raise DeclarationError(
            f"{_place()}: {name}: name {1 + upstream} functions, not {len(names)}"
        )
    form = Pair(
        names[0],
        names[-1],
        tuple(made.inputs),
        made.required,
        packed,
        not upstream,
        arrays == "numpy",
        len(made.outputs),
    )
    return replace(made, pair=form)


def optimizer(
    name: str,
    like: type[torch.optim.Optimizer] | Callable[..., Any] | RecordedSteps,
    tries: Sequence[Mapping[str, Any]] = (),
    *,
    formula: str = "",
    conventions: Literal["any", "reference"] = "any",
) -> Optimizer:
    """Declare an optimizer that students write, as a class of ``torch.optim.Optimizer``.

    It is judged by what it does to parameters, from step to step.

    Parameters
    ----------
    name
        The class's name.
    like
        The optimizer of torch's that it has to be like, or a function of the parameter, its
        gradient, a dictionary that begins empty for each parameter, and the hyperparameters:
        ``reference(p, g, state, *, lr, mu)``. It returns the new value of the parameter. It can ask
        for ``t`` too, the number of the step, from 1, and for ``total_norm``, the norm of all
        gradients together. Mistakes are named where it is made of assignments only.
    tries
        Hyperparameters to try it with. What they leave out has the default of ``like``, if that is
        not zero. The class takes all of these by keyword.
    formula
        What a step computes, for people. By default, the name.
    conventions
        "reference" if only the reference is right, and no other convention that is in use: whether
        the velocity holds the rate, and whether steps are counted for all parameters together.

    Raises
    ------
    DeclarationError
        If anything of it cannot be used.
    """
    try:
        return Optimizer(name, like, tuple(map(dict, tries)), formula, conventions, place=_place())
    except (ValueError, TypeError) as error:
        raise DeclarationError(f"{_place()}: {name}: {error}") from None


def detective(
    name: str,
    of: Stage,
    *,
    shown: Sequence[Wrong] = (),
    hidden: Sequence[Wrong] | int | None = None,
    right: Sequence[Mapping[str, str]] = (),
    cases: int = CASES,
) -> Detective:
    """Declare a function that returns cases of a stage which expose wrong backwards of it.

    A case is a dictionary of inputs and upstream, ``{"z": [[1.0, -2.0]], "g": [[1.0, 3.0]]}``.

    Parameters
    ----------
    name
        The function's name, such as "relu_cases". Students write it, without arguments.
    of
        The stage.
    shown
        Wrong backwards that students may read: for each its wrong gradients as expressions, as in
        ``{"z": "g * (z < 0)"}``, or the name of a mistake that is known for the stage.
    hidden
        Those that they may not read, which are in no handout. By default, all mistakes that are
        known for the stage and not shown, as far as a gradient check sees them. A handout has
        their number only.
    right
        Right backwards that are written otherwise, and have to pass at each case.
    cases
        How many cases count.

    Raises
    ------
    DeclarationError
        If anything of it cannot be used.
    """
    try:
        _require_name(name, of)
        known = {each.name: each for each in mistakes_in(of)} if of.gradients else {}
        read = [_wrong(of, each, known) for each in _listed("shown", shown)]
        if hidden is None:
            others = [each for each in visible_mistakes(of) if each.name not in shown]
            kept: Sequence[Mistake | None] = others
        elif isinstance(hidden, int):
            kept = [None] * hidden
        else:
            kept = [_wrong(of, each, known) for each in _listed("hidden", hidden)]
        if not read and not kept:
            raise ValueError("no wrong backward is known: give shown, or hidden")
        given = [each.gradients for each in (*read, *kept) if each]
        if twice := next((each for at, each in enumerate(given) if each in given[:at]), None):
            raise ValueError(f"the wrong backward {dict(twice)} is given twice")
        if type(cases) is not int or not 1 <= cases <= 20:
            raise ValueError("cases must be a whole number from 1 to 20")
        others_right = [_gradients(of, each) for each in _listed("right", right)]
        return Detective(name, of, tuple(read), tuple(kept), tuple(others_right), cases, _place())
    except (ValueError, TypeError) as error:
        raise DeclarationError(f"{_place()}: {name}: {error}") from None


def _require_name(name: object, of: object) -> None:
    if not isinstance(of, Stage):
        raise TypeError(f"{of!r} is not a stage: declare one with stage(...) or pair(...)")
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        raise ValueError(f"{name!r} cannot be the name of a function in Python")
    if name in ("check", of.name):
        raise ValueError(f"{name} is the name of something else in the handout: choose another")


def _listed(option: str, given: object) -> Sequence[Any]:
    if not isinstance(given, list | tuple):
        raise TypeError(f"{option} must be a list, not {type(given).__name__}")
    return given


def _wrong(of: Stage, wrong: Wrong, known: Mapping[str, Mistake]) -> Mistake:
    if not isinstance(wrong, str):
        return Mistake("wrong", _gradients(of, wrong), hint="")
    if wrong not in known:
        meant = did_you_mean(wrong, known) or " Give its gradients."
        raise ValueError(f"no mistake of {of.name} is called {wrong!r}.{meant}")
    return known[wrong]


def _gradients(of: Stage, gradients: object) -> Mapping[str, str]:
    """Return gradients by input. Raise ValueError or TypeError unless they are expressions."""
    if not isinstance(gradients, Mapping) or not gradients:
        raise TypeError(f'{gradients!r} is not a dictionary such as {{"z": "g"}}')
    single = {name for name in of.differentiable if not of.inputs[name].several}
    for name, expression in gradients.items():
        if name not in single:
            raise ValueError(f"{name} is not an input of {of.name} with a gradient of its own")
        if not isinstance(expression, str):
            raise TypeError(f"{expression!r} is not an expression in quotes")
        try:
            ast.parse(expression, mode="eval")
        except SyntaxError as error:
            raise ValueError(f"{expression!r} cannot be read: {error.msg}") from None
    return gradients


def assignment(
    title: str,
    stages: Iterable[Stage | Optimizer | Detective] = (),
    *,
    name: str = "",
    network: Callable[..., Any] | None = None,
    parameters: Mapping[str, str] | None = None,
    train: Task | Training | None = None,
    sizes: Sequence[Sizes] = (),
    points: Mapping[str, float] | None = None,
    handout: Literal["mistakes", "signatures"] = "mistakes",
    mistakes: str | Path = "",
) -> Assignment:
    """Declare an assignment: its title, and its stages in order.

    Parameters
    ----------
    title
        What people read.
    stages
        The stages in order, optimizers and detectives. By default, the stages of the network as it
        uses them. Where there are optimizers only, these are given: it is trained with each.
    name
        The name. By default, that of the folder.
    network
        A function that uses the stages, and torch's own operations between them, and returns the
        cost, or the cost and a prediction. Its arguments are the inputs, the labels or targets,
        and the parameters; each is drawn as an input of the stage that uses it first.
    parameters
        Dimensions of arguments that do not follow from the stages, as in ``{"w1": "D 32"}``: names
        of dimensions of the first two arguments, numbers, or names of dimensions of its own.
    train
        The training: `classify`, or `regress`.
    sizes
        What replaces the sizes that are derived for each stage.
    points
        What replaces the 10 points that are shared out by default: by kinds of checks, such as
        "forward" and "memory", and ids of checks, such as "training".
    handout
        With "signatures" students do not get gradients and mistakes.
    mistakes
        A TOML file beside the declaration with mistakes and hints of the course's own, which
        replace those of the same names: see docs/own-assignments.md.

    Raises
    ------
    DeclarationError
        If two stages have one name, or there is none, or the network cannot be traced.
    """
    every = tuple(stages)
    given = tuple(each for each in every if isinstance(each, Stage))
    optimizers = tuple(each for each in every if isinstance(each, Optimizer))
    detectives = tuple(each for each in every if isinstance(each, Detective))
    traced = trace(network, parameters or {}) if network else None
    used = traced.stages if traced else ()
    names = [each.name for those in (given or used, optimizers, detectives) for each in those]
    if not names:
        raise DeclarationError(f"{_place()}: an assignment needs at least one stage")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeclarationError(f"{_place()}: two stages are called {twice[0]}")
    if given and (absent := [each.name for each in used if each not in given]):
        raise DeclarationError(
            f"{_place()}: the network uses {absent[0]}, which is not among the stages"
        )
    if traced and (own := [each.name for each in given or used if each.forward_is_work]):
        raise DeclarationError(
            f"{_place()}: the forward of {own[0]} is the students' work, and a network needs it in "
            "the handout: declare stages without a network, or leave work out"
        )
    if handout not in ("mistakes", "signatures"):
        raise DeclarationError(f"{_place()}: handout is {handout!r}: say mistakes or signatures")
    if parameters and not network:
        raise DeclarationError(f"{_place()}: parameters belong to a network, and there is none")
    written = given or (() if optimizers or detectives else used)
    if sizes:
        written = tuple(replace(each, sizes=tuple(sizes)) for each in written)
    if traced:
        traced = replace(traced, stages=written or used, sizes=tuple(sizes))
    task = task_of(train, traced) if isinstance(train, Training) else train
    if mistakes:
        written, optimizers = with_own_mistakes(
            Path(caller(sys._getframe()).f_code.co_filename).parent / mistakes, written, optimizers
        )
        traced = replace(traced, stages=written or used) if traced else None
    return Assignment(
        name,
        title,
        written,
        traced if written else None,
        task,
        points or {},
        handout,
        optimizers,
        used if optimizers else (),
        detectives,
    )


def classify(
    data: Source,
    *,
    steps: int,
    rate: float,
    at_least: float,
    batch: int | None = None,
    label: str = "",
    unseen: float = 0.25,
    standardise: bool = True,
    start: Mapping[str, Start] | None = None,
    name: str = "",
) -> Training:
    """Declare a training that tells classes apart, judged by the largest score of a sample.

    Parameters
    ----------
    data
        A CSV file beside the declaration, with a header; an npz file with the arrays x and y; or a
        function that returns (x, y). Labels are 0, 1, 2 and so on.
    steps
        The number of steps of gradient descent.
    rate
        The learning rate.
    at_least
        The share of unseen samples to get right.
    batch
        The number of samples of a step. By default, all.
    label
        The column of the labels. By default, the last.
    unseen
        The share of samples that are not trained with.
    standardise
        Whether each feature gets the mean 0 and the standard deviation 1.
    start
        The value that a parameter starts with: a number, a tensor, or a function of its shape. By
        default, vectors are 0, and others normal divided by the root of the number of inputs.
    name
        What the network learns, as in "to tell three spirals apart".

    Raises
    ------
    DeclarationError
        If the file is not there, or, when they are needed, the data cannot be used.
    """
    return _training(**locals())


def regress(
    data: Source,
    *,
    steps: int,
    rate: float,
    at_least: float,
    batch: int | None = None,
    label: str = "",
    unseen: float = 0.25,
    standardise: bool = True,
    start: Mapping[str, Start] | None = None,
    name: str = "",
) -> Training:
    """Declare a training that predicts numbers, judged by the share of their variance (R²).

    ``at_least`` is that share, of unseen samples. The rest is as in `classify`; targets are
    standardised too.
    """
    return _training(**locals(), regresses=True)


def _training(*, data: Source, start: Mapping[str, Start] | None, **more: Any) -> Training:
    folder = Path(caller(sys._getframe(1)).f_code.co_filename).parent
    return Training(data, folder, _place(), start=start or {}, **more)


def real(low: float | None = None, high: float | None = None, *, sampler: Sampler = spread) -> Real:
    """Return the kind of real numbers from ``low`` to ``high``. The default is any, of both signs.

    ``sampler(generator, shape, variant)`` draws them if they need to be special.
    """
    return Real(low=low, high=high, sampler=sampler)


def positive() -> Real:
    """Return the kind of positive numbers."""
    return Real(low=0.0)


def simplex() -> Real:
    """Return the kind of positive numbers that add up to 1 along the last axis."""
    return Real(on_simplex=True)


def labels(upto: str | int) -> Whole:
    """Return the kind of labels: int64 from 0 up to, and without, a dimension or a number."""
    return Whole(upto=str(upto))


def indices(upto: str | int) -> Whole:
    """Return the kind of indices: int64 from 0 up to, and without, a dimension or a number."""
    return Whole(upto=str(upto))


def mask(share: float = 0.5) -> Mask:
    """Return the kind of a boolean tensor, of which about ``share`` is True."""
    return Mask(share=share)


def target(kind: Kind = REAL) -> Kind:
    """Return the kind of a target, such as y: backward may return None for it, or its gradient."""
    return replace(kind, role="target")


def constant(kind: Kind = REAL) -> Kind:
    """Return the kind of a tensor that needs no gradient."""
    return replace(kind, role="constant")


def buffer(kind: Kind = REAL) -> Kind:
    """Return the kind of a constant that forward may change, such as a running mean."""
    return replace(kind, role="buffer")


def _of_kind(each: Input, kind: Kind | Choices | None) -> Input:
    if each.is_given:
        if kind is None or isinstance(kind, Kind) or not len(kind):
            raise ValueError(
                f"{each.name} is a given value: list those that it may have, as in "
                f'inputs={{"{each.name}": [1, 2]}}'
            )
        return replace(each, kind=Given(choices=tuple(kind)))
    if kind is None:
        return each
    if not isinstance(kind, Kind):
        raise ValueError(f"{each.name} is a tensor: give it a kind, such as labels(10)")
    return replace(each, kind=kind)


def _place() -> str:
    """Return the file and line of the declaration that is being made."""
    return place_outside(sys._getframe(1))
