"""Grading: one submission, or many in worker processes."""
