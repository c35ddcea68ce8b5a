"""Runs of `backprop grade`: resuming, previewing, overriding, stopping."""
