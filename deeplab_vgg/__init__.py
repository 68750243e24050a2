"""DeepLab v2 on VGG16: the network, its settings, and its weights in files of other programs."""
