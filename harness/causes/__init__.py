"""Why Python and torch raise in students' code, and a way on."""
