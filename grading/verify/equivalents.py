"""Right ways to compute a stage: other formulas and other tools, for classes in any manner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grading.verify.writing import spelled
from harness.course.stage import Stage


@dataclass(frozen=True)
class Way:
    """A right way to compute a stage.

    ``forward`` are the lines that make the output from the inputs, by their declared names.
    ``saves`` names what backward needs, ``backward`` are its lines before the return, and
    ``returns`` has an expression for each input.
    """

    name: str
    forward: str
    saves: tuple[str, ...]
    returns: tuple[str, ...]
    backward: str = ""


def ways_for(assignment: str, stage: Stage) -> tuple[Way, ...]:
    """The ways known for a stage; for one that nobody has thought of, the declared formula."""
    known = WAYS.get(assignment, {}).get(stage.name, ())
    return (_declared(stage), *known)


def _declared(stage: Stage) -> Way:
    return Way(
        "as declared",
        f"{stage.output} = Solved{stage.name}.apply({', '.join(stage.inputs)})",
        (*stage.inputs, stage.output),
        tuple(spelled(stage, stage.gradients[name]) for name in stage.inputs),
    )


SLOPE = ("g * a * (1 - a)",)

SIGMOID = (
    Way("torch.sigmoid", "a = torch.sigmoid(z)", ("a",), SLOPE),
    Way("a method", "a = z.sigmoid()", ("a",), ("g * (a - a * a)",)),
    Way("a module", "a = nn.Sigmoid()(z)", ("a",), ("(g * a) - (g * a) * a",)),
    Way("expit", "a = torch.special.expit(z)", ("a",), ("torch.addcmul(a, a, a, value=-1) * g",)),
    Way(
        "two sigmoids",
        "a = torch.sigmoid(z)",
        ("z",),
        ("g * torch.sigmoid(z) * torch.sigmoid(-z)",),
    ),
    Way("tanh", "a = 0.5 * (1 + torch.tanh(z / 2))", ("a",), SLOPE),
    Way(
        "tanh both ways",
        "a = torch.tanh(z / 2).add(1).div(2)",
        ("z",),
        ("g * (1 - t) * (1 + t) / 4",),
        "t = torch.tanh(z / 2)",
    ),
    Way(
        "where",
        "e = torch.exp(-torch.abs(z))\na = torch.where(z > 0, 1 / (1 + e), e / (1 + e))",
        ("z",),
        ("g * e / (1 + e) ** 2",),
        "e = torch.exp(-torch.abs(z))",
    ),
    Way(
        "logaddexp",
        "a = torch.exp(-torch.logaddexp(torch.zeros_like(z), -z))",
        ("z",),
        ("g * torch.exp(-z - 2 * torch.logaddexp(torch.zeros_like(z), -z))",),
    ),
    Way(
        "logsigmoid",
        "a = torch.exp(F.logsigmoid(z))",
        ("z",),
        ("g * torch.exp(F.logsigmoid(z) + F.logsigmoid(-z))",),
    ),
    Way(
        "softmax of two",
        "a = torch.softmax(torch.stack([z, torch.zeros_like(z)]), 0)[0]",
        ("z",),
        ("g * both[0] * both[1]",),
        "both = torch.softmax(torch.stack([z, torch.zeros_like(z)]), 0)",
    ),
    Way("the definition", "a = 1 / (1 + torch.exp(-z))", ("a",), SLOPE),
    Way("reciprocal", "a = torch.reciprocal(1 + (-z).exp())", ("a",), ("g * (a - a ** 2)",)),
    Way("hyperbolic cosine", "a = torch.sigmoid(z)", ("z",), ("g / (2 * torch.cosh(z / 2)) ** 2",)),
    Way("parabola", "a = torch.sigmoid(z)", ("a",), ("g * (0.25 - (a - 0.5) ** 2)",)),
    Way(
        "numpy",
        "a = torch.as_tensor(np.exp(-np.logaddexp(0, -z.detach().numpy())))",
        ("a",),
        ("torch.as_tensor(slope * g.numpy())",),
        "slope = a.numpy() * (1 - a.numpy())",
    ),
    Way(
        "own tensor filled in",
        "a = torch.empty_like(z)\n"
        "a[z >= 0] = 1 / (1 + torch.exp(-z[z >= 0]))\n"
        "a[z < 0] = torch.exp(z[z < 0]) / (1 + torch.exp(z[z < 0]))",
        ("a",),
        ("slope",),
        "slope = 1 - a\nslope *= a\nslope *= g",
    ),
    Way("complement saved", "a = torch.sigmoid(z)\nc = torch.sigmoid(-z)", ("a", "c"), ("g*a*c",)),
    Way(
        "slope saved",
        "a = torch.sigmoid(z)\nslope = a * (1 - a)",
        ("slope",),
        ("g * slope",),
    ),
    Way("minus a times a minus 1", "a = torch.sigmoid(z)", ("a",), ("-g * a * (a - 1)",)),
)

ONE_SUM = (
    Way("the product", "z = w * a_prev + b", ("a_prev", "w"), ("g * w", "g * a_prev", "g")),
    Way(
        "in another order",
        "z = b + a_prev * w",
        ("w", "a_prev"),
        ("w * g", "a_prev * g", "1 * g"),
    ),
    Way(
        "addcmul",
        "z = torch.addcmul(b, w, a_prev)",
        ("a_prev", "w"),
        ("torch.mul(g, w)", "torch.mul(g, a_prev)", "g.clone()"),
    ),
    Way(
        "dot",
        "z = torch.dot(w[None], a_prev[None]) + b",
        ("a_prev", "w"),
        ("torch.dot(g[None], w[None])", "torch.dot(g[None], a_prev[None])", "g * 1.0"),
    ),
    Way(
        "linear",
        "z = F.linear(a_prev[None], w[None, None], b[None])[0]",
        ("a_prev", "w"),
        ("(g[None] @ w[None, None])[0]", "torch.outer(g[None], a_prev[None])[0, 0]", "g + 0"),
    ),
    Way(
        "einsum",
        "z = torch.einsum(',->', w, a_prev) + b",
        ("a_prev", "w"),
        ("torch.einsum(',->', g, w)", "torch.einsum(',->', g, a_prev)", "g"),
    ),
    Way(
        "Python numbers",
        "z = torch.tensor(w.item() * a_prev.item() + b.item(), dtype=w.dtype)",
        ("a_prev", "w"),
        (
            "torch.tensor(g.item() * w.item(), dtype=w.dtype)",
            "torch.tensor(float(g) * float(a_prev), dtype=w.dtype)",
            "torch.tensor(g.item(), dtype=w.dtype)",
        ),
    ),
    Way(
        "numpy",
        "z = torch.as_tensor(np.multiply(w.detach().numpy(), a_prev.detach().numpy()))\nz = z + b",
        ("a_prev", "w"),
        (
            "torch.as_tensor(g.numpy() * w.numpy())",
            "torch.as_tensor(np.prod([g.numpy(), a_prev.numpy()]))",
            "torch.from_numpy(np.array(g.numpy()))",
        ),
    ),
    Way(
        "local derivatives first",
        "z = w * a_prev + b",
        ("a_prev", "w"),
        ("g * dz_da", "g * dz_dw", "g * dz_db"),
        "dz_da = w\ndz_dw = a_prev\ndz_db = torch.ones_like(g)",
    ),
    Way(
        "a loop",
        "z = w * a_prev + b",
        ("a_prev", "w"),
        ("found[0]", "found[1]", "found[2]"),
        "found = []\nfor slope in (w, a_prev, 1.0):\n    found.append(g * slope)",
    ),
    Way(
        "summed one by one",
        "z = torch.stack([w * a_prev, b]).sum()",
        ("a_prev", "w"),
        ("total[0]", "total[1]", "total[2]"),
        "total = torch.stack([w, a_prev, torch.ones_like(w)]) * g",
    ),
)

ONE_COST = (
    Way("a power", "C = (a - y) ** 2", ("a", "y"), ("g * 2 * (a - y)", "None")),
    Way("a product", "C = (a - y) * (a - y)", ("a", "y"), ("2 * (a - y) * g", "2 * (y - a) * g")),
    Way("square", "C = torch.square(a - y)", ("a", "y"), ("g * (a - y) + g * (a - y)", "None")),
    Way("pow", "C = torch.pow(a - y, 2)", ("a", "y"), ("2 * g * a - 2 * g * y", "None")),
    Way(
        "error saved",
        "e = a - y\nC = e ** 2",
        ("e",),
        ("2 * g * e", "-2 * g * e"),
    ),
    Way(
        "binomial",
        "C = a * a - 2 * a * y + y * y",
        ("a", "y"),
        ("g * (2 * a - 2 * y)", "g * (2 * y - 2 * a)"),
    ),
    Way("mse_loss", "C = F.mse_loss(a, y)", ("a", "y"), ("-2 * g * (y - a)", "None")),
    Way(
        "Python numbers",
        "C = torch.tensor((a.item() - y.item()) ** 2, dtype=a.dtype)",
        ("a", "y"),
        ("torch.tensor(2 * g.item() * (a.item() - y.item()), dtype=a.dtype)", "None"),
    ),
    Way(
        "numpy",
        "C = torch.as_tensor(np.square(a.detach().numpy() - y.detach().numpy()))",
        ("a", "y"),
        ("torch.as_tensor(2 * g.numpy() * (a.numpy() - y.numpy()))", "None"),
    ),
    Way(
        "sign and size",
        "C = torch.abs(a - y) ** 2",
        ("a", "y"),
        ("2 * g * torch.abs(a - y) * torch.sign(a - y)", "None"),
    ),
    Way("doubled", "C = (y - a) ** 2", ("a", "y"), ("(g + g) * (a - y)", "(g + g) * (y - a)")),
)

MANY_SUM = (
    Way(
        "matrix products",
        "z = a_prev @ w.T + b",
        ("a_prev", "w"),
        ("g @ w", "g.T @ a_prev", "g.sum(0)"),
    ),
    Way(
        "linear",
        "z = F.linear(a_prev, w, b)",
        ("a_prev", "w"),
        ("F.linear(g, w.T)", "F.linear(g.T, a_prev.T)", "g.sum(dim=0)"),
    ),
    Way(
        "addmm",
        "z = torch.addmm(b, a_prev, w.t())",
        ("a_prev", "w"),
        ("torch.mm(g, w)", "torch.mm(g.t(), a_prev)", "torch.sum(g, 0)"),
    ),
    Way(
        "einsum",
        "z = torch.einsum('nk,jk->nj', a_prev, w) + b",
        ("a_prev", "w"),
        (
            "torch.einsum('nj,jk->nk', g, w)",
            "torch.einsum('nj,nk->jk', g, a_prev)",
            "torch.einsum('nj->j', g)",
        ),
    ),
    Way(
        "turned round twice",
        "z = (w @ a_prev.T).T + b[None, :]",
        ("a_prev", "w"),
        ("(w.T @ g.T).T", "(a_prev.T @ g).T", "g.T.sum(1)"),
    ),
    Way(
        "broadcast",
        "z = (a_prev[:, None, :] * w[None]).sum(-1) + b",
        ("a_prev", "w"),
        (
            "(g[:, :, None] * w).sum(1)",
            "(g[:, :, None] * a_prev[:, None, :]).sum(0)",
            "torch.ones(len(g), dtype=g.dtype) @ g",
        ),
    ),
    Way(
        "sample by sample",
        "z = torch.stack([w @ one + b for one in a_prev])",
        ("a_prev", "w"),
        ("torch.stack([w.T @ each for each in g])", "gw", "gb"),
        "gw, gb = torch.zeros_like(w), g.new_zeros(w.shape[0])\n"
        "for one, each in zip(a_prev, g):\n"
        "    gw += torch.outer(each, one)\n"
        "    gb += each",
    ),
    Way(
        "batches of matrices",
        "z = torch.matmul(w, a_prev[:, :, None])[:, :, 0] + b",
        ("a_prev", "w"),
        (
            "torch.matmul(g[:, None, :], w)[:, 0]",
            "torch.bmm(g[:, :, None], a_prev[:, None, :]).sum(0)",
            "g.mean(0) * g.shape[0]",
        ),
    ),
    Way(
        "tensordot",
        "z = torch.tensordot(a_prev, w, dims=([1], [1])) + b",
        ("a_prev", "w"),
        (
            "torch.tensordot(g, w, 1)",
            "torch.tensordot(g, a_prev, dims=([0], [0]))",
            "g.sum(0, keepdim=True).squeeze(0)",
        ),
    ),
    Way(
        "numpy",
        "z = torch.from_numpy(a_prev.detach().numpy() @ w.detach().numpy().T) + b",
        ("a_prev", "w"),
        (
            "torch.from_numpy(g.numpy() @ w.numpy())",
            "torch.from_numpy(np.dot(g.numpy().T, a_prev.numpy()))",
            "torch.from_numpy(np.add.reduce(g.numpy()))",
        ),
    ),
    Way(
        "a column of ones",
        "z = torch.cat([a_prev, torch.ones_like(a_prev[:, :1])], 1) @ torch.cat([w.T, b[None]])",
        ("a_prev", "w"),
        ("g @ w", "both[:, :-1]", "both[:, -1]"),
        "both = g.T @ torch.cat([a_prev, torch.ones_like(a_prev[:, :1])], 1)",
    ),
    Way(
        "inner",
        "z = torch.inner(a_prev, w).add(b)",
        ("a_prev", "w"),
        ("torch.inner(g, w.T)", "torch.inner(g.T, a_prev.T)", "g.cumsum(0)[-1]"),
    ),
    Way(
        "output by output",
        "z = torch.stack([a_prev @ row + bias for row, bias in zip(w, b)], dim=1)",
        ("a_prev", "w"),
        (
            "torch.stack([g[:, j : j + 1] * w[j] for j in range(len(w))]).sum(0)",
            "torch.stack([g[:, j] @ a_prev for j in range(len(w))])",
            "torch.stack([g[:, j].sum() for j in range(len(w))])",
        ),
    ),
)

MANY_COST = (
    Way(
        "sum and length",
        "C = ((a - y) ** 2).sum() / len(a)",
        ("a", "y"),
        ("g * 2 * (a - y) / len(a)", "None"),
    ),
    Way(
        "mean of sums",
        "C = ((a - y) ** 2).sum(1).mean()",
        ("a", "y"),
        ("2 / a.shape[0] * g * (a - y)", "2 / a.shape[0] * g * (y - a)"),
    ),
    Way(
        "sum of means",
        "C = torch.square(a - y).mean(0).sum()",
        ("a", "y"),
        ("g * (a - y) * 2 / a.size(0)", "None"),
    ),
    Way(
        "mse_loss",
        "C = F.mse_loss(a, y, reduction='sum') / y.shape[0]",
        ("a", "y"),
        ("ga", "-ga"),
        "ga = g * (a - y) * (2 / len(y))",
    ),
    Way(
        "mean times outputs",
        "C = ((a - y) ** 2).mean() * a.shape[1]",
        ("a", "y"),
        ("g * 2 * (a - y) / a.numel() * a.shape[1]", "None"),
    ),
    Way(
        "einsum",
        "e = a - y\nC = torch.einsum('nj,nj->', e, e) / len(e)",
        ("e",),
        ("2 * g * e / len(e)", "None"),
    ),
    Way(
        "dot",
        "e = (a - y).reshape(-1)\nC = torch.dot(e, e) / a.shape[0]",
        ("a", "y"),
        ("torch.sub(a, y).mul(2).mul(g).div(len(a))", "None"),
    ),
    Way(
        "norm",
        "C = torch.linalg.norm(a - y) ** 2 / len(a)",
        ("a", "y"),
        ("torch.div(2 * g * (a - y), len(a))", "torch.div(2 * g * (y - a), len(a))"),
    ),
    Way(
        "sample by sample",
        "C = torch.stack([((one - want) ** 2).sum() for one, want in zip(a, y)]).mean()",
        ("a", "y"),
        ("torch.stack([g * 2 * (one - want) / len(a) for one, want in zip(a, y)])", "None"),
    ),
    Way(
        "numpy",
        "C = torch.as_tensor(np.square(a.detach().numpy() - y.detach().numpy()).sum() / len(a))",
        ("a", "y"),
        ("torch.from_numpy(g.numpy() * 2 * (a.numpy() - y.numpy()) / len(a))", "None"),
    ),
    Way(
        "one share for all",
        "C = ((a - y) ** 2).sum() / len(a)",
        ("a", "y"),
        ("share * (a - y)", "None"),
        "share = (2 * g / len(a)).expand_as(a)",
    ),
    Way(
        "average last",
        "C = (a.pow(2) - 2 * a * y + y.pow(2)).sum() / len(a)",
        ("a", "y"),
        ("(2 * a - 2 * y) * g / a.shape[0]", "(2 * y - 2 * a) * g / a.shape[0]"),
    ),
)

WAYS: Mapping[str, Mapping[str, tuple[Way, ...]]] = {
    "one-neuron": {"WeightedSum": ONE_SUM, "Sigmoid": SIGMOID, "SquaredError": ONE_COST},
    "many-neurons": {"WeightedSum": MANY_SUM, "Sigmoid": SIGMOID, "SquaredError": MANY_COST},
}
