"""What a command writes and says: results, counts, progress, notices."""
