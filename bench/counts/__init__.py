"""Counts that are the same on every machine: allocations and instructions of a push."""
