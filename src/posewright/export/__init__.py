"""Pose systems as files for other runtimes."""
