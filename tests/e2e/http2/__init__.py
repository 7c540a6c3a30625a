"""Connections: dialling, closing, silence, hostile and foreign servers."""
