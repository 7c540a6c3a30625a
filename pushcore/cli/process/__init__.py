"""What a command needs of its process: its signals and its open files."""
