"""From a network and images to label maps, and how good these are."""
