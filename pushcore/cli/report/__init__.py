"""The output of a command: results, counts, progress, notices."""
