"""What runs in a student's process, or is needed to confine it.

Nothing here, and nothing that it imports, holds a reference, formula, sampler, point, label or
seed: a student's code can import all of it.
"""
