"""Senders that others wrote, unmodified, against the strict fakes: `make senders`, and docs/inside/senders.md is made by it."""
