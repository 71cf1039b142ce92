"""Training: the loop, its state, the published recipes."""
