"""Alerts: each fault is sent to channels once, and once more when it is over."""
