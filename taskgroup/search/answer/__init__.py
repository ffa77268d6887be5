"""What a search tells its reader, while it runs and at its end."""
