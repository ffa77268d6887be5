"""From finished pieces of work to scores, checks and rows."""
