"""Which conditions an evaluation consists of."""
