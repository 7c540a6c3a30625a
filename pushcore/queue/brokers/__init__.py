"""One adapter for each broker, and the checks that all of them pass."""
