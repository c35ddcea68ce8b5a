"""The verdict: run the checks, diagnose wrong gradients, apply the settings, report."""
