"""Folders of courses, assignments to fill in, and handouts."""
