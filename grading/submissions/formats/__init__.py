"""The forms in which learning platforms hand over what students submitted, a module each.

A format is a function that reads the names in a download, registered as an entry point of the
group ``backprop_harness.downloads``; others can be installed beside those here.
"""

from grading.submissions.formats.pieces import Download, Format, Piece, Reading, Who, formats

__all__ = ["Download", "Format", "Piece", "Reading", "Who", "formats"]
