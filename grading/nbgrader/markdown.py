"""Convert untrusted Markdown to inert HTML; HTML in it stays text."""

from typing import Any

from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath


class _InertRenderer(IPythonRenderer):
    """Markdown without HTML, scripts, diagrams that run, or pictures that are not there."""

    def block_mermaidjs(self, code: str) -> str:
        """Return a diagram as the text that it was written as."""
        return self.block_code(code, None)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Return a picture, or its text where it names an attachment that does not exist."""
        prefix = "attachment:"
        if url.startswith(prefix) and url.removeprefix(prefix) not in self.attachments:
            return self.escape_html(text)
        shown: str = super().image(text, url, title)
        return shown


@pass_context
def inert_markdown(context: Any, source: str) -> str:
    """Return a cell's text as HTML, as nbconvert's filter ``markdown2html`` does."""
    cell = context.get("cell", {})
    renderer = _InertRenderer(
        escape=True, allow_harmful_protocols=False, attachments=cell.get("attachments", {})
    )
    shown: str = MarkdownWithMath(renderer=renderer).render(source)
    return shown
