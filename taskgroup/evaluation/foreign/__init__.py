"""Checkpoints that other programs published."""
