"""What the networks share, in rooms: data, network, weights, prediction, training, run."""
