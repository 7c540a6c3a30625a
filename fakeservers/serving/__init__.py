"""Listeners and connections: HTTP/2 on two engines, HTTP/1.1, TLS. Knows nothing about push."""
