"""Adapter to PySyncObj: consensus, authority, and the channel between nodes (design D4, D5)."""
