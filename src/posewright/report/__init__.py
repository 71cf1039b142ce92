"""What a run looks like, on one page."""
