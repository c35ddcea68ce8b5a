"""Runs the judge on work that students handed in, each in a process of its own."""
