"""The decisions, as pure functions on frozen values (design D1).

Nothing in here does I/O, reads a clock, draws randomness, logs or knows asyncio: values in, values out, and ``now``
is an argument. import-linter holds this.
"""
