"""Training: one trial. Everything here runs without Ray, but for ``distributed``."""
