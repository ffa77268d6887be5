"""The report: one page with every chart and table of a run."""
