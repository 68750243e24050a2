"""Variables of networks in files: checkpoints, and files of other programs."""
