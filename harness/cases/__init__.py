"""The inputs that a stage is tried on, with the right answers."""
