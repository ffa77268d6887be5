"""Analysis: records -> data -> figures -> report. Loads no model."""
