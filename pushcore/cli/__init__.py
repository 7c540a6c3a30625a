"""The command line. `commands` has one file per command, `run` executes them, `report` writes results and messages."""
