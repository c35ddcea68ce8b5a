"""What a student's functions are given and what comes back, for values of every kind."""

from __future__ import annotations

from itertools import count
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from grading.parsing.source import Cell, Source
from grading.sandbox.remote import RemoteCandidate
from harness.candidate.glue import GLUE, given_index, glue_for
from harness.candidate.introspection.derivatives import second_derivatives
from harness.candidate.operations import (
    Absent,
    Backward,
    Chain,
    Chained,
    Forward,
    Link,
    Observe,
    Observed,
    Other,
    Output,
    Raised,
    Read,
    Returns,
    Unchanged,
    Value,
)
from harness.candidate.values import same
from harness.candidate.workbench import Workbench
from harness.course.settings import Limits
from harness.probes.proxy import StageTrouble, engine_refusal, proxy

X = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], dtype=torch.float64)
Y = torch.tensor([2, 0])
MASK = torch.tensor([True, False])


def bench(*functions: type[Function]) -> Workbench:
    return Workbench({each.__name__: each for each in functions})


class Everything(Function):
    """Takes a value of every kind, and notes what it was given."""

    given: tuple[Any, ...] = ()
    needs: tuple[bool, ...] = ()

    @staticmethod
    def forward(ctx, *given):
        Everything.given, Everything.needs = given, ctx.needs_input_grad
        return given[0] * 2

    @staticmethod
    def backward(ctx, g):
        return (2 * g, *(None for _ in ctx.needs_input_grad[1:]))


def test_a_function_is_given_every_value_as_it_is():
    given = (X, Y, MASK, 3, 0.5, True, "same", (2, (1, None)), (), None, X, X)
    flags = tuple(isinstance(each, Tensor | tuple) for each in given)
    output, returned, read = bench(Everything).perform(
        [Forward(1, "Everything", given, flags), Backward(1, (X,)), Read(1)]
    )
    assert isinstance(output, Output) and isinstance(returned, Returns)
    assert len(Everything.given) == len(returned.values) == len(given)
    assert Everything.given[3:9] == given[3:9] and Everything.given[9] is None
    assert [each.dtype for each in Everything.given if isinstance(each, Tensor)] == [
        torch.float64, torch.int64, torch.bool, torch.float64, torch.float64,
    ]  # fmt: skip
    assert Everything.needs == (True, *(False,) * 9, True, True)
    assert read == Unchanged((True,) * len(given), (True,), results=True)


def test_what_needs_no_gradient_is_not_said_to_need_one():
    bench(Everything).perform([Forward(1, "Everything", (X, X, X), (True, False, False))])
    assert Everything.needs == (True, False, False)


class Cat(Function):
    """Concatenates any number of tensors along an axis."""

    @staticmethod
    def forward(ctx, axis, *parts):
        ctx.axis, ctx.sizes = axis, [each.shape[axis] for each in parts]
        return torch.cat(parts, axis)

    @staticmethod
    def backward(ctx, g):
        return (None, *g.split(ctx.sizes, ctx.axis))


def test_a_layout_is_kept_and_each_of_a_variable_number_of_tensors_has_its_gradient():
    g = torch.arange(15.0, dtype=torch.float64).reshape(3, 5).T.contiguous().T
    parts = (X.T, torch.zeros(3, 3, dtype=torch.float64))
    output, returned = bench(Cat).perform(
        [Forward(1, "Cat", (1, *parts), (False, True, True)), Backward(1, (g,))]
    )
    assert isinstance(output, Output) and isinstance(returned, Returns)
    axis, one, other = returned.values
    assert axis is None and isinstance(one, Tensor) and isinstance(other, Tensor)
    assert torch.equal(one, g[:, :2]) and torch.equal(other, g[:, 2:])


def test_a_change_is_told_of_the_input_that_was_changed():
    class Spoils(Function):
        @staticmethod
        def forward(ctx, x, running, first, second):
            running += 1
            second[0] = 9.0
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g, None, None, None

    inputs = (X, Y, X, X)
    read = bench(Spoils).perform(
        [Forward(1, "Spoils", inputs, (True, False, False, False)), Read(1)]
    )[-1]
    assert read == Unchanged((True, False, True, False), (), results=True)
    assert torch.equal(Y, torch.tensor([2, 0])) and X[0, 0] == 1


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [
        (0.0, torch.nan, False),
        (torch.inf, 1.7976931348623157e308, False),
        (torch.nan, torch.nan, True),
    ],
)
def test_what_is_not_finite_is_not_the_number_that_stands_in_for_it(before, after, alike):
    ones, others = (torch.tensor([1.0, each], dtype=torch.float64) for each in (before, after))
    assert same(ones, others) is alike


class Cell2(Function):
    """Two real outputs, one of integers, one marked as not differentiable, and a None."""

    materialize = True
    given: ClassVar[list[tuple[Any, ...]]] = []

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        ctx.set_materialize_grads(Cell2.materialize)
        order, marked = x.argsort(1), x.exp()
        ctx.mark_non_differentiable(order, marked)
        return x * w, x + w.sum(), order, marked

    @staticmethod
    def backward(ctx, *g):
        Cell2.given.append(g)
        x, w = ctx.saved_tensors
        one, other = (torch.zeros_like(x) if each is None else each for each in g[:2])
        return one * w + other, (one * x).sum(0) + other.sum()


W = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
PLACES = [(0,), (1,), (0, 1), (0, 2), (0, 3), (1, 2, 3), (0, 1, 2, 3)]


@pytest.mark.parametrize("materialize", [True, False])
@pytest.mark.parametrize("places", PLACES)
def test_backward_is_given_what_the_engine_gives_for_the_outputs_in_use(
    places, materialize, monkeypatch
):
    monkeypatch.setattr(Cell2, "materialize", materialize)
    monkeypatch.setattr(Cell2, "given", [])
    upstreams = [torch.full_like(X, place + 2.0) for place in range(4)]
    x, w = (each.clone().requires_grad_() for each in (X, W))
    outputs: Any = Cell2.apply(x, w)
    used = [place for place in places if outputs[place].requires_grad]
    right = torch.autograd.grad(
        [outputs[place] for place in used], (x, w), [upstreams[place] for place in used]
    )
    asked = tuple(upstreams[place] if place in places else None for place in range(4))
    output, *replies, read = bench(Cell2).perform(
        [Forward(1, "Cell2", (X, W), (True, True)), *[Backward(1, asked)] * 2, Read(1)]
    )
    assert isinstance(output, Output) and output.several and len(output.values) == 4
    assert output.value == Other("tuple")
    for reply in replies:
        assert isinstance(reply, Returns)
        got = [each for each in reply.values if isinstance(each, Tensor)]
        assert len(got) == 2 and all(map(torch.equal, got, right))
    assert isinstance(read, Unchanged) and read.upstreams == (True,) * 8
    wanted, *others = Cell2.given
    for given in others:
        for got, want in zip(given, wanted, strict=True):
            assert (got is None) == (want is None)
            assert got is None or (torch.equal(got, want) and got.dtype == want.dtype)


def test_a_backward_that_raises_for_an_unused_output_says_where():
    class Raising(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, one, other):
            return one + 2 * other

    workbench = bench(Raising)
    _, raised, whole = workbench.perform(
        [Forward(1, "Raising", (X,), (True,)), Backward(1, (X, None)), Backward(1, (X, X))]
    )
    assert isinstance(raised, Raised) and raised.kind == "TypeError"
    assert raised.code == "return one + 2 * other"
    assert isinstance(whole, Returns)


class Pair(Function):
    """Returns a tuple of as many outputs as it is told, or a list of two."""

    @staticmethod
    def forward(ctx, x, outputs):
        if outputs == "list":
            return [x * 1, x * 2]
        return tuple(x * place for place in range(outputs))

    @staticmethod
    def backward(ctx, *g):
        return g[0], None


@pytest.mark.parametrize(
    ("outputs", "upstreams"),
    [(1, 1), (2, 1), (0, 1), ("list", 1), ("list", 2), (1, 2), (3, 2)],
)
def test_another_number_of_outputs_has_no_backward(outputs, upstreams):
    output, absent = bench(Pair).perform(
        [Forward(1, "Pair", (X, outputs), (True, False)), Backward(1, (X,) * upstreams)]
    )
    assert isinstance(output, Output)
    assert output.value == Other("list" if outputs == "list" else "tuple")
    what = "a tensor for each output" if upstreams > 1 else "a tensor"
    assert absent == Absent(f"forward did not return {what}, so there is no backward to call")


@pytest.mark.parametrize("materialize", [True, False])
@pytest.mark.parametrize("places", [(0,), (1,), (0, 1), (0, 3)])
def test_a_proxy_has_the_gradients_of_the_function_itself(places, materialize, monkeypatch):
    monkeypatch.setattr(Cell2, "materialize", materialize)
    monkeypatch.setattr(Cell2, "given", [])
    stands = proxy(bench(Cell2), "Cell2", count(1), outputs=4)
    found = []
    for function in (Cell2.apply, stands):
        x, w = (each.clone().requires_grad_() for each in (X, W))
        outputs = function(x, w)
        assert outputs[2].dtype == torch.int64
        cost = torch.stack([(3 * outputs[place]).sum() for place in places]).sum()
        found.append(torch.autograd.grad(cost, (x, w)))
    assert all(map(torch.equal, *found))
    wanted, got = Cell2.given
    assert [each is None for each in got] == [each is None for each in wanted]


def test_a_proxy_passes_on_values_that_are_no_tensors_and_labels():
    class Picks(Function):
        @staticmethod
        def forward(ctx, s, y, weight, mode):
            ctx.save_for_backward(s, y)
            ctx.weight = weight
            assert mode == "sum"
            return weight * s[torch.arange(len(y)), y].sum()

        @staticmethod
        def backward(ctx, g):
            s, y = ctx.saved_tensors
            grad = torch.zeros_like(s)
            grad[torch.arange(len(y)), y] = g * ctx.weight
            return grad, None, None, None

    s = X.clone().requires_grad_()
    proxy(bench(Picks), "Picks", count(1))(s, Y, 2.5, "sum").backward()
    assert s.grad is not None
    assert s.grad.tolist() == [[0, 0, 2.5], [2.5, 0, 0]]


def test_a_proxy_whose_outputs_are_not_all_there_is_trouble():
    for outputs, said in ((1, "a tensor this time"), (2, "a tensor for each output this time")):
        with pytest.raises(StageTrouble, match=said):
            proxy(bench(Pair), "Pair", count(1), outputs=outputs)(X, 3)


def test_a_function_whose_outputs_have_no_upstream_is_called_as_the_engine_calls_it(monkeypatch):
    class Cut(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return None

    for materialize in (True, False):
        monkeypatch.setattr(Cell2, "materialize", materialize)
        monkeypatch.setattr(Cell2, "given", [])
        for function in (Cell2.apply, proxy(bench(Cell2), "Cell2", count(1), outputs=4)):
            x, w = (each.clone().requires_grad_() for each in (X, W))
            Cut.apply(function(x, w)[0]).sum().backward()
        wanted, got = Cell2.given
        assert [each is None for each in got] == [each is None for each in wanted]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((X, None, None, X, X), ""),
        ((X, X, None, X, X), ""),  # no gradient is asked of labels: the engine ignores it
        ((X, None, X, X, X), "returned a gradient different than None at position 3"),
        ((X, None, None, X, X[:, :2]), "an invalid gradient at index 3"),
        ((X, None, None, X), "expected 5, got 4"),
    ],
)
def test_the_engine_says_what_it_refuses(values, said):
    inputs, needed = (X, Y, 3, X, X), (True, False, False, True, True)
    refusal = engine_refusal("Stage", inputs, needed, (X, None), values)
    assert said in refusal and bool(said) == bool(refusal)


def cell(x, w, axis, *parts):
    h = torch.tanh(x * w) + sum(parts)
    return h, (h * w).sum(axis)


class Tanh2(Function):
    """`cell`, by hand."""

    @staticmethod
    def forward(ctx, x, w, axis, *parts):
        h, s = cell(x, w, axis, *parts)
        ctx.save_for_backward(x, w, h)
        ctx.axis, ctx.parts = axis, len(parts)
        return h, s

    @staticmethod
    def backward(ctx, gh, gs):
        x, w, h = ctx.saved_tensors
        t = torch.tanh(x * w)
        gh = gh + gs.unsqueeze(ctx.axis) * w
        inner = gh * (1 - t * t)
        gw = (inner * x).sum(0) + (gs.unsqueeze(ctx.axis) * h).sum(0)
        return (inner * w, gw, None, *(gh,) * ctx.parts)


@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_stages_of_several_outputs_and_values_of_every_kind_can_be_observed(used):
    inputs = (X, W, 1, X, X)
    upstream = tuple(
        value if use else None
        for value, use in zip((X + 1, torch.ones(2, dtype=torch.float64)), used, strict=True)
    )
    op = Observe(
        "Tanh2", inputs, (True, True, False, True, True), upstream, (True, False, False, True, True)
    )
    (told,) = bench(Tanh2).perform([op])
    assert isinstance(told, Observed) and not told.built_in
    assert any(each.what == "aten.tanh" for each in told.dispatched)
    right = second_derivatives(cell, op)
    assert told.second is not None and len(told.second) == 3 + sum(used)
    for got, want in zip(told.second, right, strict=True):
        assert isinstance(got, Tensor) and torch.allclose(got, want)


def test_a_stage_without_real_inputs_that_need_a_gradient_can_be_observed():
    op = Observe("Everything", (X, Y, 2), (False, False, False), (X,), (False, False, False))
    (told,) = bench(Everything).perform([op])
    assert isinstance(told, Observed) and told.second is not None and len(told.second) == 1


class Double(Function):
    """Twice its input."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


LINKS = (
    Link("Cell2", ("x", "w"), ("h", "s", "order", "marked")),
    Link("torch.getitem", ("h", "last"), ("end",)),
    Link("torch.tuple", ("end", "w"), ("pair",)),
    Link("torch.stack", ("pair", "dim=one"), ("both",)),
    Link("Double", ("both",), ("twice",)),
    Link("torch.sum", ("s", "one", "keepdim=yes"), ("rows",)),
    Link("torch.mul", ("half", "rows"), ("scaled",)),
    Link("torch.unbind", ("scaled",), ("first", "second")),
    Link("torch.sum", ("twice",), ("total",)),
    Link("torch.reshape", ("first", "nothing"), ("number",)),
    Link("torch.add", ("total", "number"), ("C",)),
)
GIVEN: dict[str, Value] = {"last": (-1, ":"), "one": 1, "yes": True, "half": 0.5, "nothing": ()}
CHAIN = Chain(LINKS, {"x": X, "w": W}, ("both", "C"), ("x", "w"), {"C": 1.0}, GIVEN)


def right_chain():
    x, w = (each.clone().requires_grad_() for each in (X, W))
    h, s = x * w, x + w.sum()
    both = torch.stack((h[-1], w), dim=1)
    cost = (2 * both).sum() + (0.5 * s.sum(1, keepdim=True))[0].reshape(())
    gradients = torch.autograd.grad(cost, (x, w))
    return both, cost, torch.cat([each.flatten() for each in gradients])


def is_right(reply) -> bool:
    both, cost, gradient = right_chain()
    assert isinstance(reply, Chained) and reply.gradient is not None
    return (
        torch.equal(reply.outputs["both"], both)
        and reply.cost == pytest.approx(float(cost.detach()))
        and torch.allclose(reply.gradient, gradient)
    )


def test_a_chain_runs_torchs_own_operations_between_the_stages():
    (reply,) = bench(Cell2, Double).perform([CHAIN])
    assert is_right(reply)


def test_a_chain_tells_of_a_stage_with_another_number_of_outputs():
    links = (Link("Pair", ("x", "number"), ("a", "b")),)
    (reply,) = bench(Pair).perform([Chain(links, {"x": X}, (), given={"number": 3})])
    assert isinstance(reply, Absent) and "a tensor for each output" in reply.reason


def test_only_glue_on_the_list_is_run():
    for stage, given in (("torch.load", "x"), ("torch.getattr", "data")):
        links = (Link(stage, ("x", "name"), ("a",)),)
        (reply,) = bench().perform([Chain(links, {"x": X}, (), given={"name": given})])
        assert isinstance(reply, Absent | Raised)


def test_what_torch_fx_traces_has_a_name_as_glue():
    def network(x, w):
        a = x[:, None, ..., ::2].view(2, -1) / 3 - w
        b = torch.cat([a, x @ w], dim=1).relu() + torch.nn.functional.softmax(x, dim=1)
        return torch.where(b > 0, b, 0.0).sum(), x.T.shape[0], -torch.exp(a)

    nodes = torch.fx.symbolic_trace(network).graph.nodes
    targets = [node.target for node in nodes if node.op.startswith("call")]
    assert all(glue_for(target) in GLUE for target in targets)
    assert glue_for("view") == "torch.reshape" and glue_for("where") == glue_for(torch.load) == ""


@pytest.mark.parametrize(
    "index", [0, -1, slice(None), slice(1, None, 2), ..., None, (slice(-2, None), ..., 0, None)]
)
def test_an_index_is_the_same_when_it_has_been_given(index):
    value = torch.arange(24).reshape(2, 3, 4)
    assert torch.equal(GLUE["torch.getitem"](value, given_index(index)), value[index])


CODE = """
import torch
class Cell2(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w, x + w.sum(), x.argsort(1), x.exp()
    @staticmethod
    def backward(ctx, one, other, *rest):
        x, w = ctx.saved_tensors
        return one * w + other, (one * x).sum(0) + other.sum()
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, g):
        return 2 * g
class Cat(torch.autograd.Function):
    @staticmethod
    def forward(ctx, axis, *parts):
        ctx.axis, ctx.sizes = axis, [each.shape[axis] for each in parts]
        return torch.cat(parts, axis)
    @staticmethod
    def backward(ctx, g):
        return (None, *g.split(ctx.sizes, ctx.axis))
"""


@pytest.mark.slow
def test_all_of_it_works_behind_the_wall(zygote):
    source = Source((Cell("", CODE),), notebook=False)
    with RemoteCandidate(zygote, source, Limits()) as remote:
        output, returned, read = remote.perform(
            [
                Forward(1, "Cell2", (X, W), (True, True)),
                Backward(1, (None, X, None, None)),
                Read(1),
            ]
        )
        assert isinstance(output, Output) and len(output.values) == 4 and output.several
        assert isinstance(returned, Returns) and isinstance(returned.values[0], Tensor)
        assert torch.equal(returned.values[0], X)
        assert read == Unchanged((True, True), (True,) * 4, results=True)
        (chained,) = remote.perform([CHAIN])
        assert is_right(chained)
        _, absent, one, apart = remote.perform(
            [
                Forward(2, "Cat", (0, X, X), (False, True, True)),
                Backward(2, (X, X)),
                Forward(3, "Cat", (1, X, W.expand(2, 3)), (False, True, True)),
                Backward(3, (torch.cat((X, X), 1),)),
            ]
        )
        assert isinstance(absent, Absent) and "for each output" in absent.reason
        assert isinstance(one, Output) and isinstance(apart, Returns)
        assert len(apart.values) == 3
