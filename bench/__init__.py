"""Measurements: each module is one bench, prints JSON and a table, and asserts nothing about speed."""
