"""Other people's libraries at the same work: one file for each in `drivers/`, which `run` installs and measures."""
