"""The plain dialect: pushes as JSON, one at a time, in batches, and in streams."""
