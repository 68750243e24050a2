"""Networks as layers: what they are made of, and the forms in which they are fast."""
