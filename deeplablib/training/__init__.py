"""From lists of images and masks to a trained network."""
