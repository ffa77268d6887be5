"""Smaller copies of data sets in their own layout."""
