"""A network made fast for this machine."""
