"""What grading writes down: result lines, the record of a run, attempts, rosters."""
