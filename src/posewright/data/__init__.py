"""Where annotated people come from, and how they become batches."""
