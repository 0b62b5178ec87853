"""The HTTP side of a node: aiohttp server, routes, JSON as orchestrator's clients know it."""
