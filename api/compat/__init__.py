"""Answers as orchestrator's clients know them: the same keys in the same order, the same types, the same words.

Everything in here is pure: domain values in, JSON values out. What is different on purpose is listed in
``docs/differences.md``.
"""
