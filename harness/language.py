"""What students read, in their language: gettext, with the template catalogue locale/backprop.pot.

The environment variable BACKPROP_LANGUAGE names a language that has a compiled catalogue, as
locale/de/LC_MESSAGES/backprop.mo. Without it, texts are English.
"""

import gettext
import os
from functools import cache
from pathlib import Path

LOCALE = Path(__file__).with_name("locale")
VARIABLE = "BACKPROP_LANGUAGE"


def tr(text: str) -> str:
    """Return the translation of a text, which can have fields in braces to be filled in later."""
    return _translations(os.environ.get(VARIABLE, "")).gettext(text) if text else ""


@cache
def _translations(language: str) -> gettext.NullTranslations:
    languages = [language] if language else []
    return gettext.translation("backprop", LOCALE, languages, fallback=True)
