"""The pieces of work of an evaluation: what one is, who runs it, where it is kept."""
