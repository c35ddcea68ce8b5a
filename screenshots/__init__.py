"""Take the screenshots of the documentation with one command, ``make screenshots``."""
