"""nbgrader in this course: notebooks from solutions/, marks from the judge behind its wall.

A course of your own needs this file in its folder, and nothing else of this project's.
"""

from grading.nbgrader.plugin import configure

configure(get_config())  # noqa: F821 - nbgrader gives it
