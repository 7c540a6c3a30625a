"""What rejects a change: limits on ratios and allocations, and two commits against each other."""
