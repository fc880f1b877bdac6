"""Streams that do not end."""
