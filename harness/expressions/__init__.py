"""All small expressions over some names, to be found by their values; torch and numpy only."""
