"""Data sets in their original layouts, one file each."""
