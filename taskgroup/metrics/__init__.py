"""Metrics: a batch becomes per-image sums, sums add over batches, sums become scores."""
