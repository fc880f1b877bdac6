"""Measures what the README claims, on this machine, and prints JSON. Nothing here asserts a time."""
