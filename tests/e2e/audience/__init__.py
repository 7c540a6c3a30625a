"""Audiences that are not on this machine."""
