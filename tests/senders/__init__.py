"""Senders that others wrote, unmodified, against the strict fakes: `make senders`, and docs/senders.md is made by it."""
