"""Run the command as ``python -m grading.cli``."""

from grading.cli import main

main(prog_name="backprop")
