"""All measurements as one report, and the figures of README and docs."""
