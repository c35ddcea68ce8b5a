"""A word embedding, and one step of three recurrent networks."""

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, indices, stage

embedding = stage(
    "Embedding",
    "words[N T], table[V D] -> x",
    F.embedding,
    inputs={"words": indices("V")},
    gradients={"table": "zeros_like(table).index_add(0, words.flatten(), g.flatten(0, 1))"},
)
rnn_step = stage(
    "RNNStep",
    "x[N D], h[N H], w_x[D H], w_h[H H], b[H] -> h_next",
    lambda x, h, w_x, w_h, b: torch.tanh(x @ w_x + h @ w_h + b),
    where={"dz": "g * (1 - h_next ** 2)"},
    gradients={
        "x": "dz @ w_x.T",
        "h": "dz @ w_h.T",
        "w_x": "x.T @ dz",
        "w_h": "h.T @ dz",
        "b": "dz.sum(0)",
    },
)


def lstm_cell(x: Tensor, h: Tensor, c: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next hidden state and cell; w holds input, forget, output and cell gate."""
    i, f, o, u = (torch.cat([x, h], 1) @ w.T + b).chunk(4, 1)
    c_next = f.sigmoid() * c + i.sigmoid() * u.tanh()
    return o.sigmoid() * c_next.tanh(), c_next


lstm = stage(
    "LSTMCell",
    "x[N D], h[N H], c[N H], w[(4 * H) (D + H)], b[(4 * H)] -> h_next, c_next",
    lstm_cell,
    where={
        "z": "cat((x, h), 1) @ w.T + b",
        "f": "sigmoid(z.narrow(1, H, H))",
        "o": "sigmoid(z.narrow(1, 2 * H, H))",
    },
    gradients={"c": "(g_c_next + g_h_next * o * (1 - tanh(c_next) ** 2)) * f"},
)


def gru_cell(x: Tensor, h: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor) -> Tensor:
    """Return the next hidden state; w_x and w_h hold the reset, update and new gate."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = (x @ w_x + b).chunk(3, 1), (h @ w_h).chunk(3, 1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    return (1 - z) * (n_x + r * n_h).tanh() + z * h


gru = stage(
    "GRUCell",
    "x[N D], h[N H], w_x[D (3 * H)], w_h[H (3 * H)], b[(3 * H)] -> h_next",
    gru_cell,
    where={
        "r": "sigmoid((x @ w_x + b + h @ w_h).narrow(1, 0, H))",
        "z": "sigmoid((x @ w_x + b + h @ w_h).narrow(1, H, H))",
    },
)

ASSIGNMENT = assignment("Recurrent cells", stages=[embedding, rnn_step, lstm, gru])
