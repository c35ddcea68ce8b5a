"""The mistakes that teachers know: what students write, and a question that leads them on."""

from harness.mistakes.catalogue import general_hint, mistakes_in, with_known_mistakes
from harness.mistakes.own import with_own_mistakes

__all__ = ["general_hint", "mistakes_in", "with_known_mistakes", "with_own_mistakes"]
