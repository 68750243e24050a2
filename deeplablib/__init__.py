"""What the two networks share: reading, labels, checkpoints, inference and metrics."""
