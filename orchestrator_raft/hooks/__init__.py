"""Adapter that tells the outside world: commands of the *Processes lists, later webhooks and proxies."""
