"""Adapters to key-value stores, in which primaries are published."""
