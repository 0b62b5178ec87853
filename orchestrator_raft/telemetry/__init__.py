"""Logs, metrics and the audit sink."""
