"""Students' checks of their own work: on the command line and in pytest."""
