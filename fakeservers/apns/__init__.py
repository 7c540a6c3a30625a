"""The fake APNs: its server, rules, tokens, devices and channels."""
