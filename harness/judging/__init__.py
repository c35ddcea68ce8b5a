"""The verdict: which checks run, what they come to, and what the student is told."""
