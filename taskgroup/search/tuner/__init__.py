"""The Ray and Optuna side of a search; nothing else in taskgroup imports either."""
