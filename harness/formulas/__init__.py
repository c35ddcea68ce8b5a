"""Formulas as torch expressions: which ones lie near each other, and which are the same."""
