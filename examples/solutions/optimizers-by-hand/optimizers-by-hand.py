"""Four optimizers, each of which moves parameters in place."""

import torch
from torch.optim import Optimizer


class Momentum(Optimizer):
    """A ball that rolls down: v = momentum * v + g, p = p - lr * v."""

    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "v" not in state:
                    state["v"] = torch.zeros_like(p)
                state["v"].mul_(group["momentum"]).add_(p.grad)
                p.sub_(group["lr"] * state["v"])


class Nesterov(Optimizer):
    """The same, with a look ahead: p = p - lr * (g + momentum * v)."""

    def __init__(self, params, lr=0.1, momentum=0.9, nesterov=True):
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "v" not in state:
                    state["v"] = torch.zeros_like(p)
                state["v"].mul_(group["momentum"]).add_(p.grad)
                p.sub_(group["lr"] * (p.grad + group["momentum"] * state["v"]))


class Adam(Optimizer):
    """Averages of the gradient and of its square, both corrected for beginning at 0."""

    def __init__(self, params, lr=0.001, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["t"] += 1
                state["m"].mul_(beta1).add_((1 - beta1) * p.grad)
                state["v"].mul_(beta2).add_((1 - beta2) * p.grad**2)
                m = state["m"] / (1 - beta1 ** state["t"])
                v = state["v"] / (1 - beta2 ** state["t"])
                p.sub_(group["lr"] * m / (v.sqrt() + group["eps"]))


class ClippedSGD(Optimizer):
    """Descent along gradients whose norm, of all together, is at most max_norm."""

    def __init__(self, params, lr=0.1, max_norm=1.0):
        super().__init__(params, {"lr": lr, "max_norm": max_norm})

    @torch.no_grad()
    def step(self):
        every = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not every:
            return
        total = torch.cat([p.grad.flatten() for p in every]).norm()
        for group in self.param_groups:
            scale = min(1.0, group["max_norm"] / total)
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * scale * p.grad)
