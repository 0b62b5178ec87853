"""The one error of the sandbox: its text is a single clear line for the person at the terminal, cause and way out."""

from __future__ import annotations


class SandboxError(Exception):
    """A server could not be found, installed, started or reached; the text says which one and what to do."""
