"""The same work in PyTorch, with our networks as PyTorch modules (torch_form)."""

import torch
from torch.nn import functional

from deeplablib.data.images import IMG_MEAN
from deeplablib.network.flops import TRAINING, forward_flops
from deeplablib.prediction.multi_scale import SCALES
from deeplablib.training.objective import is_kernel, rate_multiplier
from experiments.benchmarks.in_tensorflow import (
    NETWORKS,
    RECIPE,
    prediction_flops,
    random_batch,
    random_image,
)
from experiments.benchmarks.measure import Work
from experiments.benchmarks.torch_form import TorchForm


def prediction(
    form: str, network: str, width: float, height_width: tuple[int, int], scales: int
) -> Work:
    """As in_tensorflow.prediction; form: 'float32' or 'bfloat16'."""
    keras_model = NETWORKS[network].build(width=width)
    scales = SCALES[:scales]
    module = TorchForm(keras_model).eval().to(memory_format=torch.channels_last)
    image = torch.from_numpy(random_image(height_width))
    probabilities = NETWORKS[network].score_map_kind == 'probabilities'

    def run():
        with torch.inference_mode(), _precision(form):
            batch = preprocess(image[None])
            fused = None
            for scale in scales:
                size = [int(n * scale) for n in height_width]
                score_map = module(_resized(batch, size)).float()
                score_map = score_map.softmax(1) if probabilities else score_map
                if fused is None:
                    fused = score_map
                else:
                    fused = torch.maximum(fused, _resized(score_map, fused.shape[2:]))
            return _resized(fused, height_width).argmax(1)[0].byte().numpy()

    return Work(run, flops=prediction_flops(keras_model, height_width, scales))


def training(
    form: str, network: str, width: float, height_width: tuple[int, int], batch_size: int
) -> Work:
    """As in_tensorflow.training, on one device."""
    keras_model = NETWORKS[network].build(width=width)
    module = TorchForm(keras_model).train().to(memory_format=torch.channels_last)
    images, labels = random_batch(height_width, batch_size)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    optimizer = torch.optim.SGD(_groups(network, keras_model, module), lr=1e-9, momentum=0.9)

    def run():
        with _precision(form):
            logits = module(images).float()
        target = torch.from_numpy(labels[:, ::8, ::8]).long()
        loss = functional.cross_entropy(logits, target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    flops = TRAINING * batch_size * forward_flops(keras_model, *height_width)
    return Work(run, flops=flops)


def preprocess(images: torch.Tensor) -> torch.Tensor:
    """uint8 [batch, height, width, 3] to what a TorchForm takes: BGR minus mean, channels first."""
    batch = images.flip(-1).float() - torch.tensor(IMG_MEAN)
    return batch.permute(0, 3, 1, 2)


def _resized(images, size):
    return functional.interpolate(images, size=tuple(size), mode='bilinear', align_corners=False)


def _precision(form):
    return torch.autocast('cpu', torch.bfloat16, enabled=form == 'bfloat16')


def _groups(network, keras_model, module):
    """The learning rates and weight decay of the trainer, by parameter."""
    recipe = NETWORKS[network].recipes[RECIPE]
    parameters = dict(module.layers.named_parameters())
    for name, variable in NETWORKS[network].variables(keras_model).items():
        if variable.trainable:
            layer, part = variable.path.split('/')
            part = {'kernel': 'weight'}.get(part, part)
            yield {
                'params': [parameters[f'{layer.replace(".", "/")}.{part}']],
                'lr': 1e-9 * rate_multiplier(name, recipe),
                'weight_decay': 5e-4 if is_kernel(name) else 0.0,
            }
