"""Trials in Ray Tune; nothing else in search but ``watch`` imports Ray."""
