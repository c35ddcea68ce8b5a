"""Proof that the checks work: solutions, handouts, mutants and controls, on the path of grading."""
