"""Poses over HTTP: an application, its page, and runs of the network that concurrent requests share."""
