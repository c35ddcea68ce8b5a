"""The page that opens packs: it shows the page of a submission whose address follows its #."""

from grading.pages.render import allowed, asset, render


def viewer_page() -> str:
    """Return the page as HTML; it reads the packs beside it."""
    script = asset("viewer.js")
    style = asset("page.css") + asset("viewer.css")
    return render("viewer.html", style=style, script=script, script_hash=allowed(script))
