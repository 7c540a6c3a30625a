"""The control port, its live page, and the processes of a fake that has several."""
