"""Real database servers and real nodes on loopback, for the demo, the tests and the benches alike.

Not part of the product: nothing in ``orchestrator_raft`` or ``api`` imports this package.
"""
