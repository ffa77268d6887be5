"""Who watches a search: event files, loggers, gauges."""
