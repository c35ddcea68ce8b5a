"""The mistakes that teachers know: what students write, and a question that leads them on."""

from harness.mistakes.catalogue import mistakes_in, with_known_mistakes

__all__ = ["mistakes_in", "with_known_mistakes"]
