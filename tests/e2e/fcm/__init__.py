"""FCM's rules through the wire, against the strict fake and Google's own library."""
