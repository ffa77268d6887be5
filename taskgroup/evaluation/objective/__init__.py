"""What an attack sees of a network: losses, tracked scores, gradients."""
