"""The loss, learning rates and momentum of the original trainers, and the loss of the tags.

A loss is a sum divided by a count that the caller gives, because the mean is over all labels of a
batch, however many devices share it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.network.network_spec import Recipe
from deeplablib.network.resize import resize_bilinear, resize_nearest
from deeplablib.prediction.multi_scale import SCALES
from deeplablib.utils.backend import tf


def pixel_targets(
    labels: tf.Tensor,
    num_classes: int,
    multi_scale: bool = False,
    output_stride: int = OUTPUT_STRIDE,
) -> list[tf.Tensor]:
    """The labels of each term of the loss.

    labels: uint8 [batch, height, width]. num_classes: labels from here on belong to no class.
    multi_scale: whether the loss has a term for each scale. output_stride: of the network.
    Returns a list of int32 [batch, height / stride, width / stride] with -1 where there is no
    class: one for the network at its full size; for multi-scale training also one for each smaller
    scale.
    """
    height, width = labels.shape[1:3]
    scales = SCALES if multi_scale else SCALES[:1]
    sizes = [[-(-int(n * s) // output_stride) for n in (height, width)] for s in scales]
    labels = tf.cast(labels[..., None], tf.float32)  # a GPU has no kernel for integers
    resized = [tf.cast(resize_nearest(labels, size)[..., 0], tf.int32) for size in sizes]
    return [tf.where(part < num_classes, part, -1) for part in resized]


def pixel_loss(
    model: Callable,
    images: tf.Tensor,
    targets: Sequence[tf.Tensor],
    counts: Sequence[tf.Tensor],
    outputs: Callable,
) -> tf.Tensor:
    """The cross entropy of a batch, the mean over its labelled pixels, summed over the terms.

    One term for the network as it is; in multi-scale training one for each scale, and one for the
    elementwise maximum of their outputs at full size (the original's model_msc.py). Prediction has
    a fusion of its own, of score maps: deeplablib/prediction/multi_scale.py.

    model: function of (images, training) to logits, called in training mode.
    images: float32 [batch, height, width, 3].
    targets: from pixel_targets. counts: float32 scalars, the labelled pixels of each, over all
    devices.
    outputs: Recipe.outputs.
    Returns a float32 scalar: this device's share; the shares of all devices sum to the loss.
    """
    score_maps = []
    for scale in SCALES[: len(targets)]:
        size = [int(n * scale) for n in images.shape[1:3]]
        scaled = images if scale == 1 else resize_bilinear(images, size)
        score_maps.append(outputs(tf.cast(model(scaled, training=True), tf.float32)))
    terms = list(zip(score_maps, targets, counts, strict=True))
    if len(score_maps) > 1:
        full_size = score_maps[0].shape[1:3]
        fused = [score_maps[0], *(resize_bilinear(part, full_size) for part in score_maps[1:])]
        terms.append((tf.reduce_max(tf.stack(fused), axis=0), targets[0], counts[0]))
    means = []
    for score_map, target, count in terms:
        labelled = target >= 0
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.where(labelled, target, 0), logits=score_map
        )
        total = tf.reduce_sum(tf.where(labelled, losses, 0.0))
        means.append(total / tf.maximum(count, 1.0))  # no pixel labelled: a loss of 0
    return tf.add_n(means)


def tag_map_loss(
    model: Callable, images: tf.Tensor, targets: Sequence[tf.Tensor], counts: Sequence[tf.Tensor]
) -> tf.Tensor:
    """The sigmoid cross entropy of a batch of tags, summed and divided by how many there are.

    The model gives a map for each tag; its mean, global average pooling, is the logit.

    model: function of (images, training) to responses [batch, rows, columns, tags].
    images: float32 [batch, height, width, 3]. targets: one int32 [batch, tags], 1 where an image
    has the tag. counts: one float32 scalar, the tags of all images of all devices.
    Returns a float32 scalar: this device's share; the shares of all devices sum to the loss.
    """
    responses = tf.cast(model(images, training=True), tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(targets[0], tf.float32), logits=tf.reduce_mean(responses, axis=[1, 2])
    )
    return tf.reduce_sum(losses) / counts[0]


def is_kernel(name: str) -> bool:
    """Whether a variable, by its checkpoint name, is the kernel of a convolution: those decay."""
    return name.endswith('weights')


def weight_decay_loss(variables: Mapping[str, Any], weight_decay: float) -> tf.Tensor:
    """weight_decay * sum(w^2) / 2 over the kernels; its gradient is weight_decay * w.

    variables: dict from name to variable. Returns a float32 scalar.
    """
    kernels = [v for name, v in variables.items() if is_kernel(name)]
    return weight_decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])


def poly_rate(step: tf.Tensor, learning_rate: float, num_steps: int, power: float) -> tf.Tensor:
    """learning_rate * (1 - step / num_steps) ^ power, in float32 as the original computes it.

    step: int or tensor, 0 to num_steps inclusive. Returns a float32 scalar.
    """
    left = 1 - tf.cast(step, tf.float32) / tf.cast(num_steps, tf.float32)
    return tf.constant(learning_rate, tf.float32) * tf.pow(left, power)


def rate_multiplier(name: str, recipe: Recipe, of_encoder: tf.Tensor | float = 1.0) -> Any:
    """How much faster than the poly rate a variable learns.

    name: of the variable in checkpoints. recipe: Recipe of the network. of_encoder: from
    warm_up. Returns a float, or a float32 scalar tensor.
    """
    if recipe.classifier in name:
        return 10.0 if is_kernel(name) else 20.0
    return of_encoder * (1.0 if is_kernel(name) else recipe.bias_rate)


def warm_up(step: tf.Tensor, warmup_steps: int) -> tf.Tensor | float:
    """The factor of the encoder's rate, from 0 to 1 over the first steps.

    A classifier that begins anew would otherwise spoil what the encoder knows.
    step: int or tensor. warmup_steps: 0 for none. Returns a float32 scalar.
    """
    if not warmup_steps:
        return 1.0
    return tf.minimum(1.0, tf.cast(step, tf.float32) / float(warmup_steps))


def apply_momentum(
    variable: Any, slot: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, momentum: float
) -> None:
    """TensorFlow 1's momentum: slot = momentum * slot + gradient; variable -= rate * slot.

    Keras' SGD keeps rate * slot instead, which is not the same while the rate decays.

    variable: Keras variable. slot: tf.Variable of its shape. gradient: tensor.
    rate: float32 scalar tensor. momentum: float.
    """
    tf.raw_ops.ResourceApplyMomentum(
        var=variable.value.handle,
        accum=slot.handle,
        lr=rate,
        grad=gradient,
        momentum=momentum,
    )
