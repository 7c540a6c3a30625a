"""APNs' rules through the wire, against the strict fake."""
