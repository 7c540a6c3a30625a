"""pushcore's clients and engine against one server: rates, CPU, latency, memory."""
