"""Replaying a graded submission: what each check asked, and what came back."""
