"""Campaigns on many machines, over a queue that the user already operates. See docs/guides/queue.md."""
