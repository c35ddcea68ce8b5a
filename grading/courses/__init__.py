"""Folders of courses, and assignments to fill in."""
