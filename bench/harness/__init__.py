"""What every measurement uses: processes on their cores, clients, the work, options, and how rows look."""
