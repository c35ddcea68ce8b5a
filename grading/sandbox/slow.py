"""Modules that are slow to import, which are loaded before the fork if a source needs them."""

import re

from grading.parsing.source import Source

# These make torch load its compiler, which takes seconds and 70 MiB, though nothing is compiled.
_COMPILER = re.compile(
    r"\b(?:optim|compiler|checkpoint|functorch|_dynamo|vjp|jacrev|hessian|torch\.func"
    r"|torch import func)\b"
)


def asked_for(source: Source) -> tuple[str, ...]:
    """Return the modules that the code is going to import, as far as its text tells."""
    asks = any(_COMPILER.search(cell.text) for cell in (*source.cells, *source.modules))
    return ("torch._dynamo",) if asks else ()
