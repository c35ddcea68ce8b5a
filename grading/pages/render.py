"""Turn templates into pages: whatever is put into one is text, and is shown in full."""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.course.numbers import decimal
from harness.drawing.visible import visible, visible_line
from harness.show.outline import check_label, needed


@cache
def _environment(package: str) -> Environment:
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    made.filters |= {
        "number": decimal,
        "check_label": check_label,
        "needed": needed,
        "line": visible_line,
    }
    return made


def render(template: str, package: str = "grading.pages", /, **values: object) -> str:
    """Return the page that a template of a package makes of the values.

    What is not Markup becomes text.
    """
    return "".join(streamed(template, package, **values))


def streamed(template: str, package: str, /, **values: object) -> Iterator[str]:
    """Yield the parts of what `render` returns."""
    return _environment(package).get_template(template).generate(values)


@cache
def asset(name: str) -> Markup:
    """Return a style sheet or script of this package, to include in a page."""
    return Markup(files("grading.pages").joinpath("templates", name).read_text(encoding="utf-8"))


def allowed(script: str) -> Markup:
    """Return what allows this script, and no other, to run in a page."""
    digest = hashlib.sha256(script.encode()).digest()
    return Markup(f"sha256-{base64.b64encode(digest).decode()}")


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
