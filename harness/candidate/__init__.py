"""A student's functions: the operations on them, and a workbench that performs those.

Together with `grading.confined`, this is all of the project that a student's process can import.
"""
