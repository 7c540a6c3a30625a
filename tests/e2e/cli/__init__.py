"""`pushcore` as a process."""
