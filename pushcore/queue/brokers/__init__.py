"""The brokers that carry a queue, and the checks that each of them passes."""
