"""The stages of a search: a cheap stand-in, the search itself, the confirmation."""
