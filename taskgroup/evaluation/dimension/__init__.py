"""Output dimension: how gradients and attacks change with the number of outputs attacked."""
