"""Our networks in PyTorch, for comparison: the same layers with the same weights.

Padding is symmetric, as PyTorch's DeepLabs have it; TensorFlow's differs from it by a pixel where a
strided layer meets an even size.
"""

import torch
from torch import nn

from deeplablib.network.layers import Conv2D
from deeplablib.utils.backend import keras


class TorchForm(nn.Module):
    """A Keras network as a PyTorch module: float32 [batch, 3, height, width] to logits."""

    def __init__(self, model: keras.Model):
        """Take a network with its weights."""
        super().__init__()
        self.steps, layers = [], {}
        for operation in model.operations:
            if isinstance(operation, keras.layers.InputLayer):
                self.input = operation.name
                continue
            inputs = operation.input if isinstance(operation.input, list) else [operation.input]
            names = [tensor._keras_history.operation.name for tensor in inputs]
            self.steps.append((operation.name, names))
            layers[operation.name.replace('.', '/')] = _layer(operation)
        self.layers = nn.ModuleDict(layers)
        self.output = model.output._keras_history.operation.name
        last_use = {name: step for step, (_, names) in enumerate(self.steps) for name in names}
        self.done = [[n for n, last in last_use.items() if last == s] for s in range(len(layers))]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images to logits."""
        values = {self.input: images}
        for (name, inputs), done in zip(self.steps, self.done, strict=True):
            values[name] = self.layers[name.replace('.', '/')](*(values[n] for n in inputs))
            for used in done:
                del values[used]
        return values[self.output]


class _Sum(nn.Module):
    def forward(self, *inputs):
        return sum(inputs[1:], inputs[0])


def _layer(layer):
    if isinstance(layer, Conv2D):
        size, rate = layer.kernel_size[0], layer.dilation_rate[0]
        kernel, *bias = [torch.from_numpy(weight) for weight in layer.get_weights()]
        module = nn.Conv2d(
            in_channels=kernel.shape[2],
            out_channels=kernel.shape[3],
            kernel_size=size,
            stride=layer.strides[0],
            padding=rate * (size // 2),
            dilation=rate,
            bias=bool(bias),
        )
        module.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
        if bias:
            module.bias.data = bias[0]
        return module
    if isinstance(layer, keras.layers.BatchNormalization):
        module = nn.BatchNorm2d(layer.gamma.shape[0], eps=layer.epsilon)
        values = [torch.from_numpy(weight) for weight in layer.get_weights()]
        module.weight.data, module.bias.data, module.running_mean, module.running_var = values
        module.eval().requires_grad_(False)
        module.train = lambda mode=True: module  # on stored statistics in training too
        return module
    if isinstance(layer, keras.layers.MaxPooling2D):
        return nn.MaxPool2d(layer.pool_size[0], layer.strides[0], layer.pool_size[0] // 2)
    if isinstance(layer, keras.layers.AveragePooling2D):
        pool = layer.pool_size[0]
        return nn.AvgPool2d(pool, layer.strides[0], pool // 2, count_include_pad=False)
    if isinstance(layer, keras.layers.Dropout):
        return nn.Dropout(layer.rate)
    if isinstance(layer, keras.layers.ReLU):
        return nn.ReLU()
    if isinstance(layer, keras.layers.Add):
        return _Sum()
    raise TypeError(f'{layer.name}: no PyTorch form of a {type(layer).__name__}')
