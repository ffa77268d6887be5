"""Which trials a study runs, before any of them does."""
