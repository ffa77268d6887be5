"""Weightings: rules that turn task losses into one loss. The imports below are the list."""
