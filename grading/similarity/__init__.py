"""Similar submissions: what is compared, and who shares it."""
