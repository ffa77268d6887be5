"""Weights that other programs published, in networks of ours."""
