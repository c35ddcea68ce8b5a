"""Turns templates into pages: whatever is put into one is text, and is seen whole."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.course.numbers import decimal
from harness.show.outline import check_label
from harness.show.visible import visible


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("grading.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    made.filters |= {"number": decimal, "check_label": check_label}
    return made


def render(template: str, **values: object) -> str:
    """The page that a template makes of the values. What is not Markup becomes text."""
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=8)
def asset(name: str) -> Markup:
    """A style sheet or script of this package, to stand in a page."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
