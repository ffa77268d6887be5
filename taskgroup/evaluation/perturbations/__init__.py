"""What an evaluation does to images before it asks for a score."""
