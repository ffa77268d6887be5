"""What a run remembers, as frozen dataclasses, and how they become parquet."""
