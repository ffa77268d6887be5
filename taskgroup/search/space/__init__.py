"""The search space: its YAML, its distributions, its schema."""
