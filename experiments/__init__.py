"""What is measured with the method: generated data, the ablation, and speed."""
