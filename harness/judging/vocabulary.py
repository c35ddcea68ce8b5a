"""The words that introspection may use; the judge drops all others."""

from functools import lru_cache

import torch

from harness.candidate.introspection.reading import FRAMES, MODULES, NAMED

FINITE = ("a difference quotient", "the difference of two nearly equal values")
KEPT = "a tensor kept for built-in autograd"
_OWN = frozenset({*FINITE, KEPT, "grad_fn", *FRAMES, *MODULES, *NAMED.values()})


def is_word(what: str) -> bool:
    """Return whether this is a phrase of the harness, or a function or operator of torch."""
    package, _, name = what.partition(".")
    return (
        what in _OWN
        or what in _operators()
        or (package == "torch" and f"aten.{name}" in _operators())
    )


def is_node(name: str) -> bool:
    """Return whether this names one of the functions of built-in autograd."""
    return not name.startswith("_") and hasattr(torch._C._functions, name)


@lru_cache(maxsize=1)
def _operators() -> frozenset[str]:
    """Return the operators of this process's torch, with and without their overloads' names."""
    names = [name.replace("::", ".") for name in torch._C._dispatch_get_all_op_names()]
    return frozenset({*names, *(".".join(name.split(".")[:2]) for name in names)})
