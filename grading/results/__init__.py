"""What grading writes down: result lines, the record of a folder, rosters, summaries."""
