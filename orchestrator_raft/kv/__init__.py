"""Adapters to key-value stores (none yet)."""
