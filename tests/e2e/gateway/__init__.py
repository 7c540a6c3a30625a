"""`pushcore gateway` as a process, and its parts over the network."""
