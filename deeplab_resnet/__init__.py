"""DeepLab v2 on ResNet: the network, its settings, and its weights in files of other programs."""
