"""Shards on Ray, and what a search shares with them: joining a cluster, settings for workers."""
