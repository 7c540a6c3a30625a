"""The command line. `commands` has one file per command, `run` carries them out, `report` says what happened."""
