"""What is measured with the method: generated data, ablation, evidence, estimates, speed."""
