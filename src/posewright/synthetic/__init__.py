"""Drawn people with exact labels."""
