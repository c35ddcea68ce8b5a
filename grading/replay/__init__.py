"""Replay a graded submission: what each check asked, and the replies."""
