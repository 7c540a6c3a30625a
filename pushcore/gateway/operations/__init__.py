"""What operators see of the gateway: health, numbers, the access log."""
