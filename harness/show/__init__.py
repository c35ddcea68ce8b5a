"""A report as text, as a notebook's HTML, and pictures of the chain and of a training."""

from harness.drawing.chain import chain_picture
from harness.drawing.costs import costs_picture
from harness.drawing.heat import heat_picture
from harness.drawing.samples import Sample, samples_picture
from harness.drawing.sensitivity import sensitivity_picture
from harness.drawing.svg import DOWN, UP, Picture, layer_sum_picture
from harness.show.notebook import report_html
from harness.show.playing import INK, attempt, plot_style, predicted
from harness.show.text import report_text

__all__ = [
    "DOWN",
    "INK",
    "Picture",
    "Sample",
    "UP",
    "attempt",
    "chain_picture",
    "costs_picture",
    "heat_picture",
    "layer_sum_picture",
    "plot_style",
    "predicted",
    "report_html",
    "report_text",
    "samples_picture",
    "sensitivity_picture",
]
