"""Decoders: backbone features to full-resolution features. The imports below are the list."""
