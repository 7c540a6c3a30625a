"""Other libraries at the same work: one file each in `drivers/`, which `run` installs and measures."""
