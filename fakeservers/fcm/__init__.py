"""The fake FCM: HTTP v1, the legacy API, topics, and the OAuth endpoint."""
