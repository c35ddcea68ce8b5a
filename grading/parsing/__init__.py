"""Reads what was handed in, where students' code runs: notebooks, zips, and which file counts."""
