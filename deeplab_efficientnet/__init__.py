"""DeepLab v2 on EfficientNet-Lite0: network, settings, weights in files of other programs."""
