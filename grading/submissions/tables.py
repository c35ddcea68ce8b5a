"""Tables as course systems and spreadsheets export them, in whatever encoding they were saved."""

import codecs
import csv
import io
from pathlib import Path

from grading.errors import refusals
from harness.errors import UserError

SEPARATORS = ",;\t"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def table(path: Path) -> tuple[list[list[str]], str]:
    """Return the rows of a CSV file, and its encoding.

    What its first line with any has most of separates the cells. Raise UserError if it cannot be
    read, or has an unclosed quotation mark.
    """
    with refusals(path):
        text, encoding = decoded(path.read_bytes())
    lines = text.splitlines()[:5]
    head = next((line for line in lines if any(each in line for each in SEPARATORS)), "")
    separator = max(SEPARATORS, key=head.count)
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be read as a table ({error}): look for a stray quotation mark in line "
            f"{line}."
        ) from None
    return rows, encoding


def decoded(data: bytes) -> tuple[str, str]:
    """Return the text of a table, and the encoding that it has.

    Without a byte order mark it is UTF-8 if it can be, or UTF-16 if every other byte is zero, and
    Windows-1252 otherwise, which Excel saves in western Europe and America.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding
    if data[1::2].count(0) > len(data) // 4:
        return data.decode("utf-16-le", "replace"), "utf-16"
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "windows-1252"
