"""Proof that the checks work: solutions, handouts, mutants and controls are graded."""
