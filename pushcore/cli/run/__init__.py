"""The execution of a campaign by a command: clients, processes, journals, and its end."""
