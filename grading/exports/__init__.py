"""Where results go: the formats of other systems, made from what a grading run wrote."""
