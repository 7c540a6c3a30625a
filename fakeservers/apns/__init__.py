"""The fake APNs: its server, the rules that it judges requests by, its tokens, devices and channels."""
