"""Tasks: what a head predicts, its loss, its metric. The imports below are the list."""
