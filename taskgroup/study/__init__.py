"""Pure numpy on result records: selection, Pareto set, intervals."""
