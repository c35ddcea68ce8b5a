"""The one kind of error that a user can correct, and what they may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from harness.language import tr


class UserError(Exception):
    """A user has to correct something; the text says what is wrong, where, and what to do."""


class DeclarationError(UserError):
    """A declaration that cannot be used; the message says where, and what is wrong."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after the known name that is most like an unknown one, "" if none is."""
    names = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), names, n=1)
    return tr(" Did you mean {name}?").format(name=names[near[0]]) if near else ""
