"""What a course declares: stages, assignments, settings, and what its checks report."""
