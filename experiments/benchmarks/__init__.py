"""What experiments/benchmark.py times, and how."""
