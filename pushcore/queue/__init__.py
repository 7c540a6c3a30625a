"""Campaigns on many machines, over a queue that the user already runs. See docs/guides/queue.md."""
