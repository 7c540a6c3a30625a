"""How a command carries out a campaign: clients, processes, journals, and how it ends."""
