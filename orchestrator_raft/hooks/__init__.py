"""Adapter that tells the outside world what recoveries do: commands of the *Processes lists, and webhooks."""
