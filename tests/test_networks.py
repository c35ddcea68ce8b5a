"""A network is traced from a function, checked as a chain, and refused with its line."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from grading.nbgrader.check_cells import cell_points
from harness.candidate.workbench import Workbench
from harness.course.settings import Settings
from harness.course.shapes import sizes_of, values_for
from harness.declare import assignment, indices, labels, mask, stage
from harness.errors import DeclarationError
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.notebook import Handout
from harness.probes import plan

affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
relu = stage("ReLU", "z[N K] -> a", torch.relu)
scale = stage("Scale", "x[N D], gamma -> s", lambda x, gamma: x * gamma, inputs={"gamma": [2.0]})
loss = stage("CrossEntropy", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")})
mean = stage("Mean", "x[N D] -> m", lambda x: x.mean())
embed = stage(
    "Embedding", "table[V D], i[N] -> e", lambda table, i: table[i], inputs={"i": indices("V")}
)
drop = stage("Drop", "x[N D], keep[N D] -> d", lambda x, keep: x * keep, inputs={"keep": mask()})


def step(x, h, c, w):
    u = x @ w + h
    return torch.tanh(u) * c, c + torch.sigmoid(u)


cell = stage("Cell", "x[N D], h[N H], c[N H], w[D H] -> h_next, c_next", step)


def of(network, **more):
    return assignment("Own", network=network, **more)


def right(stage_, spoil=lambda grads, calls: grads):
    """A class whose backward asks built-in autograd, and spoils what that says."""

    class Solved(torch.autograd.Function):
        calls = 0

        @staticmethod
        def forward(ctx, *inputs):
            ctx.inputs = inputs
            found = stage_.run(inputs)
            return found if len(found) > 1 else found[0]

        @staticmethod
        def backward(ctx, *upstream):
            Solved.calls += 1
            return spoil(stage_.true_gradients(ctx.inputs, upstream), Solved.calls)

    return Solved


def outcomes(declared, spoil=None, seed=4):
    """The outcomes of a chain's checks, with right stages but for those that are spoilt."""
    spoilt = spoil or {}
    names = {each.name: right(each, *spoilt.get(each.name, ())) for each in declared.stages}
    report = judge(declared, Workbench(names), seed=seed).report
    return {check.id: check.outcome for check in report.checks}


def relu_network(x, y, w1, b1, w2, b2):
    s = affine(relu(affine(x, w1, b1)), w2, b2)
    return loss(s, y), s


def residual(x, y, w1, b1, w2, b2):
    h = x + relu(affine(x, w1, b1))
    return loss(affine(h * 2 - F.softmax(h, dim=1), w2, b2), y)


def recurrent(x, h, c, w):
    for at in range(2):
        h, c = cell(x[:, at], h, c, w)
    return mean(torch.cat([h, c.T.reshape(h.shape[0], -1)], dim=1))


def words(table, i, keep, w, b, y):
    return loss(affine(drop(scale(embed(table, i), 2.0), keep), w, b), y)


conv = stage(
    "Conv2d",
    "x[N C H W], w[F C R S], stride, padding -> z",
    lambda x, w, stride, padding: F.conv2d(x, w, None, stride, padding),
    inputs={"stride": [1, 2], "padding": [0, 1]},
    sizes="R <= H + 2 * padding, S <= W + 2 * padding",
)
attend = stage("Attend", "q[N T D], k[N T D] -> o", lambda q, k: torch.softmax(q @ k.mT, -1) @ k)


def images(x, y, w, v, b):
    return loss(affine(relu(conv(x, w, 1, 1).flatten(1)), v, b), y)


def sequences(x, y, w, b):
    x = x + attend(x, x * 2)
    return loss(affine(x.mean(dim=1), w, b), y)


concat = stage("Concat", "xs*[N D] -> c", lambda *xs: torch.cat(xs, 1))
shift = stage("Shift", "x[N D], b?[D] -> s", lambda x, b: x * 2 if b is None else x + b)


def joined(x, u, y, v, w, b):
    return loss(affine(concat(shift(x, None), shift(x, v), u), w, b), y)


NETWORKS = [
    (joined, {}),
    (images, {"w": "4 C 3 3"}),
    (sequences, {}),
    (relu_network, {}),
    (residual, {}),
    (recurrent, {"x": "N 2 D"}),
    (words, {}),
]
each_network = pytest.mark.parametrize(
    ("network", "parameters"), NETWORKS, ids=[each.__name__ for each, _ in NETWORKS]
)


def test_values_are_called_as_the_outputs_that_they_are():
    made = of(relu_network).network
    assert [(link.stage, link.inputs, link.outputs) for link in made.links] == [
        ("Affine", ("x", "w1", "b1"), ("z1",)),
        ("ReLU", ("z1",), ("a",)),
        ("Affine", ("a", "w2", "b2"), ("z2",)),
        ("CrossEntropy", ("z2", "y"), ("C",)),
    ]
    assert (made.ends, made.prediction) == (("C",), "z2")


def test_the_stages_of_a_network_are_those_of_the_assignment():
    assert of(relu_network).stages == (affine, relu, loss)
    assert MANY_NEURONS.network and MANY_NEURONS.network.stages == MANY_NEURONS.stages


@each_network
def test_the_links_compute_what_the_function_does(network, parameters):
    made = of(network, parameters=parameters).network

    def generator(name, use):
        return torch.Generator().manual_seed(use)

    for sizes in sizes_of(made):
        leaves, values = values_for(made, sizes, generator)
        found = network(*(leaves[name] for name in made.arguments))
        cost = found[0] if isinstance(found, tuple) else found
        torch.testing.assert_close(values[made.ends[0]], cost)


@each_network
def test_arguments_are_drawn_as_the_stages_ask(network, parameters):
    made = of(network, parameters=parameters).network
    sizes = sizes_of(made)[0]
    leaves, _ = values_for(made, sizes, lambda name, use: torch.Generator().manual_seed(use))
    kinds = {"y": torch.int64, "i": torch.int64, "keep": torch.bool}
    for name, value in leaves.items():
        assert isinstance(value, torch.Tensor)
        assert value.dtype == kinds.get(name, torch.float64)


@pytest.mark.slow
@each_network
def test_right_stages_pass_in_any_network(network, parameters):
    found = outcomes(of(network, parameters=parameters))
    assert set(found.values()) == {"passed"}
    assert "chain/whole" in found


def test_a_stage_used_twice_that_mixes_its_calls_up_fails_in_the_chain():
    last: list[tuple[torch.Tensor, ...]] = []

    class Mixed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            last[:] = [inputs]
            return affine.run(inputs)[0]

        @staticmethod
        def backward(ctx, *upstream):
            return affine.true_gradients(last[0], upstream)

    names = {"Affine": Mixed, "ReLU": right(relu), "CrossEntropy": right(loss)}
    report = judge(of(relu_network), Workbench(names), seed=4).report
    found = {check.id: check.outcome for check in report.checks}
    assert found["affine/gradient/w"] == "passed"
    assert found["chain/affine"] in ("failed", "error") and found["chain/relu"] == "passed"
    assert found["chain/whole"] == "not_run"


def test_the_precision_of_one_stage_costs_no_other_check_of_the_chain():
    class Single(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return torch.relu(z).float()

        @staticmethod
        def backward(ctx, g):
            return g * (ctx.saved_tensors[0] > 0)

    names = {"Affine": right(affine), "ReLU": Single, "CrossEntropy": right(loss)}
    report = judge(of(relu_network), Workbench(names), seed=4).report
    wrong = [check.id for check in report.checks if check.outcome != "passed"]
    assert wrong == ["relu/precision"]


def test_without_a_network_each_stage_is_a_chain_by_itself():
    declared = assignment("Own", [affine, cell, embed])
    found = outcomes(declared)
    assert {id for id in found if id.startswith("chain/")} == {
        "chain/affine",
        "chain/cell",
        "chain/embedding",
    }
    assert set(found.values()) == {"passed"}


def test_a_stage_by_itself_that_goes_wrong_late_fails_in_its_chain():
    from harness.probes.chain import judge_chain
    from harness.probes.context import Failed, StageContext

    bad = right(cell, lambda grads, calls: (*grads[:3], grads[3] * 2))
    context = StageContext(cell, Workbench({"Cell": bad}), seed=4)
    with pytest.raises(Failed, match="∂C/∂w is wrong"):
        judge_chain(None, {"Cell": context}, ["Cell"])


def test_a_residual_sum_makes_two_dimensions_the_same():
    sizes = sizes_of(of(residual).network)
    assert all(len(each) == 3 for each in sizes)  # N, D and the classes
    assert len(sizes) > 1


def not_in_the_list(x):
    return mean(torch.linalg.svdvals(x))


def no_such_method(x):
    return mean(x.bernoulli())


def no_such_attribute(x):
    return mean(x.data)


def branching(x):
    return mean(x if x.sum() > 0 else -x)


def too_few(x, w):
    return mean(affine(x, w))


def as_a_list(x, y):
    return mean(concat([x, y]))


def as_one(x, h, c, w):
    return mean(cell(x, h, c, w))


def up_to_a_tensor(x, n):
    return mean(x[:n])


def nothing(x):
    mean(x)


def matrices(x, w):
    return mean(x @ w)


def cut_off(x, y):
    return loss(x.detach(), y)


def not_a_cost(x):
    return scale(x, 2.0)


@pytest.mark.parametrize(
    ("network", "line", "said"),
    [
        (not_in_the_list, 1, "svdvals cannot stand between the stages"),
        (no_such_method, 1, "bernoulli cannot stand between the stages"),
        (no_such_attribute, 1, "data cannot stand between the stages"),
        (branching, 1, "must do the same for all values"),
        (too_few, 1, "Affine takes x, w, b, and is given 2 arguments"),
        (as_a_list, 1, r"Concat takes each tensor as an argument of its own: write \*tensors"),
        (as_one, 0, "Cell has several outputs: write h_next, c_next = …"),
        (up_to_a_tensor, 0, "a slice in a network needs numbers"),
        (nothing, 0, "must return the cost, or the cost and a prediction"),
        (lambda *values: mean(values[0]), 0, "name each of them"),
        (lambda x, w, v: mean(x), 0, "w, v are used nowhere"),
    ],
)
def test_what_a_network_cannot_hold_is_refused_with_its_line(network, line, said):
    at = network.__code__.co_firstlineno + line
    with pytest.raises(DeclarationError, match=said) as refusal:
        of(network)
    assert f"test_networks.py, line {at if line else ''}" in str(refusal.value)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            matrices,
            "the shape of x, which torch.matmul uses, follows from nothing; add it, as",
        ),
        (cut_off, "no gradient leads from the cost C to any argument"),
        (not_a_cost, "the cost s is not a single number"),
    ],
)
def test_a_network_that_does_not_run_says_why(network, said):
    with pytest.raises(DeclarationError, match=said):
        sizes_of(of(network).network)


def test_parameters_of_no_argument_are_refused():
    with pytest.raises(DeclarationError, match="v is not an argument of relu_network"):
        of(relu_network, parameters={"v": "3"})
    with pytest.raises(DeclarationError, match=r"test_networks.py, line \d+: .*w1"):
        of(relu_network, parameters={"w1": "3 )"})


def test_stages_beside_those_of_the_network_are_allowed_and_missing_ones_are_not():
    assert of(relu_network, stages=[affine, relu, loss, mean]).stages[-1] is mean
    with pytest.raises(DeclarationError, match="ReLU, which is not among the stages"):
        of(relu_network, stages=[affine, loss])


def test_without_a_network_a_notebook_has_all_points_from_the_checks_of_its_stages():
    declared = assignment("Own", [affine, relu, loss], name="own")
    planned = plan(declared, Settings())
    cells = [cell_points(x.name, f"check({x.name})", planned) for x in declared.stages]
    assert sum(cells) == pytest.approx(10)
    solved = right(affine)
    solved.__name__ = "Affine"
    handout = Handout(declared)
    said = repr(handout.check(solved))
    assert "subsets of gradients, torch's graph" in said and "Everything holds" in said
    with pytest.raises(TypeError, match="form no network to train"):
        handout.train(solved)


def test_a_notebook_checks_and_joins_stages_without_a_training(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    declared = assignment("Own", [affine, relu, loss], network=relu_network, name="own")
    handout = Handout(declared)
    solved = {each.name: right(each) for each in declared.stages}
    for name, solved_class in solved.items():
        solved_class.__name__ = name
    checked = handout.check(solved["Affine"])
    assert "train() tries them together" in repr(checked)
    together = handout.train(*solved.values())
    assert together.run is None and together.report.passed
    assert "Affine" in together._repr_mimebundle_()["text/html"]
    assert "Everything holds" in repr(together)
    assert handout.draw_chain().svg


def test_what_a_chain_waits_for_has_the_name_of_its_class(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    declared = of(relu_network, name="own")
    bad = right(relu, lambda found, calls: (found[0] * 2,))
    solved = {"Affine": right(affine), "ReLU": bad, "CrossEntropy": right(loss)}
    for name, solved_class in solved.items():
        solved_class.__name__ = name
    said = repr(Handout(declared).train(*solved.values()))
    assert "waits for ∂C/∂z of ReLU: ReLU, whole chain" in said
    assert "check(ReLU) says more" in said and "Relu" not in said
