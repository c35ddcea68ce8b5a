"""How students write the three stages: right in many styles, wrong in the ways teachers know.

Each is source text. The upstream gradient is called ``g`` everywhere, and nothing else is, so that
it can be given another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent, indent

STAGES = ("WeightedSum", "Sigmoid", "SquaredError")

_FORWARDS = {
    "WeightedSum": """
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return a_prev @ w.T + b
    """,
    "Sigmoid": """
        @staticmethod
        def forward(ctx, z):
            a = torch.sigmoid(z)
            ctx.save_for_backward(z, a)
            return a
    """,
    "SquaredError": """
        @staticmethod
        def forward(ctx, a, y):
            ctx.save_for_backward(a, y)
            return ((a - y) ** 2).sum() / len(a)
    """,
}
_SAVED = {"WeightedSum": "a_prev, w", "Sigmoid": "z, a", "SquaredError": "a, y"}


@dataclass(frozen=True)
class Style:
    """The classes of one way to write them, and what stands above them."""

    classes: Mapping[str, str]
    above: str = ""


def plain(stage: str, returned: str) -> str:
    """A stage whose backward returns an expression over what forward saved."""
    backward = f"""
@staticmethod
def backward(ctx, g):
    {_SAVED[stage]} = ctx.saved_tensors
    return {returned}
"""
    return _class(stage, dedent(_FORWARDS[stage]) + backward)


def stub(stage: str) -> str:
    """A stage as the handout gives it."""
    backward = """
@staticmethod
def backward(ctx, g):
    # YOUR CODE HERE
    raise NotImplementedError()
"""
    return _class(stage, dedent(_FORWARDS[stage]) + backward)


def _class(stage: str, body: str) -> str:
    return f"class {stage}(Function):\n{indent(body.strip(), '    ')}\n"


def _style(above: str, **bodies: str) -> Style:
    classes = {stage: _class(stage, dedent(body)) for stage, body in bodies.items()}
    return Style(classes, dedent(above).strip())


# What a right backward of the plain kind returns.
RIGHT_RETURNS: Mapping[str, tuple[str, ...]] = {
    "WeightedSum": (
        "g @ w, g.T @ a_prev, g.sum(0)",
        "torch.matmul(g, w), torch.matmul(g.t(), a_prev), g.sum(dim=0)",
        "g.mm(w), g.transpose(0, 1).mm(a_prev), torch.sum(g, 0)",
        "(w.T @ g.T).T, (a_prev.T @ g).T, torch.ones(len(g), dtype=g.dtype) @ g",
    ),
    "Sigmoid": (
        "g * a * (1 - a)",
        "g * (a - a**2)",
        "torch.mul(g, a - a * a)",
    ),
    "SquaredError": (
        "g * 2 * (a - y) / len(a), None",
        "2.0 * g / a.shape[0] * (a - y), None",
        "g * (a - y).mul(2).div(a.size(0)), -g * (a - y).mul(2).div(a.size(0))",
    ),
}

WRONG_RETURNS: Mapping[str, Mapping[str, str]] = {
    "WeightedSum": {
        "missing-transpose": "g @ w, g @ a_prev, g.sum(0)",
        "transpose-too-many": "g @ w.T, g.T @ a_prev, g.sum(0)",
        "reshape-for-transpose": "g @ w, (a_prev.T @ g).reshape(w.shape), g.sum(0)",
        "unsummed-bias": "g @ w, g.T @ a_prev, g",
        "mean-for-sum-in-bias": "g @ w, g.T @ a_prev, g.mean(0)",
        "bias-summed-over-everything": "g @ w, g.T @ a_prev, g.sum().expand(len(w))",
        "averaged-twice": "g @ w, g.T @ a_prev / len(g), g.sum(0) / len(g)",
        "first-sample-only": "g @ w, torch.outer(g[0], a_prev[0]), g[0]",
        "swapped-returns": "g.T @ a_prev, g @ w, g.sum(0)",
        "weighted-sum-without-upstream": (
            "torch.ones_like(g) @ w, torch.ones_like(g).T @ a_prev, torch.ones_like(g).sum(0)"
        ),
        "none-for-the-weights": "g @ w, None, g.sum(0)",
        "weighted-sum-sign": "-g @ w, -g.T @ a_prev, -g.sum(0)",
        "two-returns": "g @ w, g.T @ a_prev",
    },
    "Sigmoid": {
        "z-for-a": "g * z * (1 - z)",
        "sigmoid-of-a": "g * torch.sigmoid(a) * (1 - torch.sigmoid(a))",
        "only-a": "g * a",
        "only-one-minus-a": "g * (1 - a)",
        "tanh-derivative": "g * (1 - a**2)",
        "sigmoid-sign": "g * a * (a - 1)",
        "sigmoid-without-upstream": "a * (1 - a)",
        "mixed-a-and-z": "g * a * (1 - z)",
        "identity": "g",
        "relu-derivative": "g * (z > 0)",
        "constant-slope": "g / 4",
    },
    "SquaredError": {
        "lost-factor-two": "g * (a - y) / len(a), None",
        "missing-one-over-n": "g * 2 * (a - y), None",
        "squared-error-sign": "g * 2 * (y - a) / len(a), None",
        "squared-error-without-upstream": "2 * (a - y) / len(a), None",
        "divided-by-n-and-k": "g * 2 * (a - y) / a.numel(), None",
        "divided-by-n-twice": "g * 2 * (a - y) / len(a) ** 2, None",
        "error-squared-again": "g * 2 * (a - y) ** 2 / len(a), None",
        "absolute-error": "g * 2 * (a - y).abs() / len(a), None",
        "target-forgotten": "g * 2 * a / len(a), None",
        "next-stage-folded-in": "g * 2 * (a - y) * a * (1 - a) / len(a), None",
    },
}

# Backwards that raise something of their own.
CRASHES: Mapping[str, str] = {
    "WeightedSum": "dz @ w, dz.T @ a_prev, dz.sum(0)",
    "Sigmoid": "g * a @ (1 - a).tolist()",
    "SquaredError": "g * 2 * (a - y) / N, None",
}

EINSUM = Style(
    {
        "WeightedSum": plain(
            "WeightedSum",
            "torch.einsum('nk,ki->ni', g, w), torch.einsum('nk,ni->ki', g, a_prev), "
            "torch.einsum('nk->k', g)",
        ),
        "Sigmoid": plain("Sigmoid", "torch.einsum('nk,nk,nk->nk', g, a, 1 - a)"),
        "SquaredError": plain("SquaredError", "2 * g * (a - y) / len(a), None"),
    }
)

SETUP_CONTEXT = _style(
    "",
    WeightedSum="""
        @staticmethod
        def forward(a_prev, w, b):
            return a_prev @ w.T + b

        @staticmethod
        def setup_context(ctx, inputs, output):
            a_prev, w, b = inputs
            ctx.save_for_backward(a_prev, w)

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            return g @ w, g.T @ a_prev, g.sum(0)
    """,
    Sigmoid="""
        @staticmethod
        def forward(z):
            return torch.sigmoid(z)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return g * a * (1 - a)
    """,
    SquaredError="""
        @staticmethod
        def forward(a, y):
            return ((a - y) ** 2).sum() / len(a)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            a, y = ctx.saved_tensors
            return 2 * g * (a - y) / len(a), None
    """,
)

NEEDS_INPUT_GRAD = _style(
    "",
    WeightedSum="""
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return a_prev @ w.T + b

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            grad_a_prev = grad_w = grad_b = None
            if ctx.needs_input_grad[0]:
                grad_a_prev = g @ w
            if ctx.needs_input_grad[1]:
                grad_w = g.T @ a_prev
            if ctx.needs_input_grad[2]:
                grad_b = g.sum(0)
            return grad_a_prev, grad_w, grad_b
    """,
    Sigmoid="""
        @staticmethod
        def forward(ctx, z):
            a = torch.sigmoid(z)
            ctx.save_for_backward(a)
            return a

        @staticmethod
        def backward(ctx, g):
            if not ctx.needs_input_grad[0]:
                return None
            (a,) = ctx.saved_tensors
            return g * a * (1 - a)
    """,
    SquaredError="""
        @staticmethod
        def forward(ctx, a, y):
            ctx.save_for_backward(a, y)
            return ((a - y) ** 2).sum() / a.size(0)

        @staticmethod
        def backward(ctx, g):
            a, y = ctx.saved_tensors
            slope = 2 * g * (a - y) / a.size(0)
            grad_a = slope if ctx.needs_input_grad[0] else None
            grad_y = -slope if ctx.needs_input_grad[1] else None
            return grad_a, grad_y
    """,
)

NUMPY_INSIDE = _style(
    "import numpy as np",
    WeightedSum="""
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.arrays = a_prev.detach().numpy(), w.detach().numpy()
            z = ctx.arrays[0] @ ctx.arrays[1].T + b.detach().numpy()
            return torch.from_numpy(z)

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.arrays
            g = g.numpy()
            found = np.dot(g, w), np.dot(g.T, a_prev), np.sum(g, axis=0)
            return tuple(torch.from_numpy(each) for each in found)
    """,
    Sigmoid="""
        @staticmethod
        def forward(ctx, z):
            with np.errstate(over="ignore"):
                ctx.a = 1.0 / (1.0 + np.exp(-z.detach().numpy()))
            return torch.from_numpy(ctx.a.copy())

        @staticmethod
        def backward(ctx, g):
            return torch.from_numpy(g.numpy() * ctx.a * (1 - ctx.a))
    """,
    SquaredError="""
        @staticmethod
        def forward(ctx, a, y):
            ctx.error = a.detach().numpy() - y.detach().numpy()
            return torch.tensor(np.sum(ctx.error**2) / len(ctx.error))

        @staticmethod
        def backward(ctx, g):
            return torch.from_numpy(g.item() * 2 * ctx.error / len(ctx.error)), None
    """,
)

HELPERS = _style(
    '''
        def outer_sum(left, right):
            """The sum over the samples of the outer products."""
            return (left[:, :, None] * right[:, None, :]).sum(0)


        def slope_of(a):
            return a * (1 - a)


        def share(a, y):
            return 2 * (a - y) / a.shape[0]
    ''',
    WeightedSum="""
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return torch.nn.functional.linear(a_prev, w, b)

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            return g @ w, outer_sum(g, a_prev), g.sum(0)
    """,
    Sigmoid="""
        @staticmethod
        def forward(ctx, z):
            a = torch.sigmoid(z)
            ctx.save_for_backward(a)
            return a

        @staticmethod
        def backward(ctx, g):
            return g * slope_of(*ctx.saved_tensors)
    """,
    SquaredError="""
        @staticmethod
        def forward(ctx, a, y):
            ctx.save_for_backward(a, y)
            return (a - y).pow(2).sum(1).mean()

        @staticmethod
        def backward(ctx, g):
            return g * share(*ctx.saved_tensors), None
    """,
)

STABLE = _style(
    """
        def stable_sigmoid(z):
            positive = z >= 0
            e = torch.exp(torch.where(positive, -z, z))
            return torch.where(positive, 1, e) / (1 + e)
    """,
    WeightedSum="""
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return torch.addmm(b, a_prev, w.T)

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            return g @ w, (a_prev.T @ g).T, torch.ones(len(g), dtype=g.dtype) @ g
    """,
    Sigmoid="""
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return stable_sigmoid(z)

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * stable_sigmoid(z) * stable_sigmoid(-z)
    """,
    SquaredError="""
        @staticmethod
        def forward(ctx, a, y):
            ctx.save_for_backward(a, y)
            return torch.nn.functional.mse_loss(a, y) * a.shape[1]

        @staticmethod
        def backward(ctx, g):
            a, y = ctx.saved_tensors
            return g * (a - y).mul(2).div(a.shape[0]), None
    """,
)

ROWS = _style(
    "",
    WeightedSum="""
        @staticmethod
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return torch.stack([w @ sample + b for sample in a_prev])

        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            grad_a_prev = torch.zeros_like(a_prev)
            grad_w = torch.zeros_like(w)
            grad_b = torch.zeros(w.shape[0], dtype=w.dtype)
            for n in range(len(a_prev)):
                grad_a_prev[n] = w.T @ g[n]
                grad_w += torch.outer(g[n], a_prev[n])
                grad_b += g[n]
            return grad_a_prev, grad_w, grad_b
    """,
    Sigmoid="""
        @staticmethod
        def forward(ctx, z):
            a = torch.sigmoid(z)
            ctx.save_for_backward(a)
            return a

        @staticmethod
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return torch.stack([g[n] * row * (1 - row) for n, row in enumerate(a)])
    """,
    SquaredError="""
        @staticmethod
        def forward(ctx, a, y):
            ctx.save_for_backward(a, y)
            cost = 0
            for sample, target in zip(a, y):
                cost = cost + ((sample - target) ** 2).sum()
            return cost / len(a)

        @staticmethod
        def backward(ctx, g):
            a, y = ctx.saved_tensors
            rows = [g * 2 * (sample - target) / len(a) for sample, target in zip(a, y)]
            return torch.stack(rows), None
    """,
)

# How many of a hundred right ones are written in a style of their own; the others are plain. Those
# that loop over the samples take about three times as long to judge as the rest.
STYLES: Mapping[str, tuple[int, Style]] = {
    "einsum": (8, EINSUM),
    "setup-context": (10, SETUP_CONTEXT),
    "needs-input-grad": (8, NEEDS_INPUT_GRAD),
    "numpy-inside": (6, NUMPY_INSIDE),
    "helpers": (8, HELPERS),
    "stable": (5, STABLE),
    "rows": (5, ROWS),
}
