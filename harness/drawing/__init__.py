"""Pictures: the chain, its formulas, trainings, and paths down a valley."""
