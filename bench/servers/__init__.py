"""What is measured against: the C target, servers at a distance, and the load that the fakes can take."""
