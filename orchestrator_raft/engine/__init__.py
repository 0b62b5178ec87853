"""The running parts: short awaiting loops around the pure core, written against ``ports`` only."""
