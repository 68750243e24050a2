"""The loss, learning rates and momentum of the original trainers, and the loss of the tags.

A loss is a sum divided by a count that the caller gives, because the mean is over all labels of a
batch, however many devices share it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from deeplablib.data.score_maps import OUTPUT_STRIDE
from deeplablib.network.network_spec import Recipe
from deeplablib.network.resize import resize_bilinear, resize_nearest
from deeplablib.prediction.multi_scale import SCALES
from deeplablib.utils.backend import tf


@dataclass(frozen=True)
class Objective:
    """What a training makes small, in the three steps that each device takes with its batch.

    targets: turns the labels of a batch into a list of targets, one for each term of the loss.
    count: how many labels of a target the loss is the mean over, an int32 scalar.
    loss: function of (model, images, targets, counts) that returns the device's share of the loss;
        counts are those of each target over all devices.
    """

    targets: Callable
    count: Callable
    loss: Callable


def pixel_objective(num_classes: int, outputs: Callable, multi_scale: bool = False) -> Objective:
    """The softmax cross entropy of labelled pixels; arguments as for targets and data_loss."""
    return Objective(
        targets=partial(targets, num_classes=num_classes, multi_scale=multi_scale),
        count=count_labelled,
        loss=partial(data_loss, outputs=outputs),
    )


def tag_objective() -> Objective:
    """The sigmoid cross entropy of tags, the mean over tags and images.

    The labels of a batch are uint8 [batch, tags], 1 where an image has the tag. The model gives a
    map for each tag; its mean, global average pooling, is the logit.
    """
    return Objective(targets=lambda tags: [tf.cast(tags, tf.float32)], count=tf.size, loss=tag_loss)


def targets(labels: tf.Tensor, num_classes: int, multi_scale: bool = False) -> list[tf.Tensor]:
    """The labels of each term of the loss.

    labels: uint8 [batch, height, width]. num_classes: labels from here on belong to no class.
    multi_scale: whether the loss has a term for each scale.
    Returns a list of int32 [batch, height / 8, width / 8] with -1 where there is no class: one for
    the network at its full size; for multi-scale training also one for each smaller scale.
    """
    height, width = labels.shape[1:3]
    scales = SCALES if multi_scale else SCALES[:1]
    sizes = [[-(-int(n * s) // OUTPUT_STRIDE) for n in (height, width)] for s in scales]
    labels = tf.cast(labels[..., None], tf.float32)  # a GPU has no kernel for integers
    resized = [tf.cast(resize_nearest(labels, size)[..., 0], tf.int32) for size in sizes]
    return [tf.where(part < num_classes, part, -1) for part in resized]


def count_labelled(target: tf.Tensor) -> tf.Tensor:
    """How many pixels of a target have a class: int32 scalar."""
    return tf.math.count_nonzero(target >= 0, dtype=tf.int32)


def data_loss(
    model: Callable,
    images: tf.Tensor,
    target_maps: Sequence[tf.Tensor],
    counts: Sequence[tf.Tensor],
    outputs: Callable,
) -> tf.Tensor:
    """The cross entropy of a batch, the mean over its labelled pixels, summed over the terms.

    One term for the network as it is; in multi-scale training one for each scale, and one for the
    elementwise maximum of their outputs at full size (the original's model_msc.py). Prediction has
    a fusion of its own, of score maps: deeplablib/prediction/multi_scale.py.

    model: function of (images, training) to logits, called in training mode.
    images: float32 [batch, height, width, 3].
    target_maps: from targets. counts: labelled pixels of each target, over all devices.
    outputs: Recipe.outputs.
    Returns a float32 scalar: this device's share; the shares of all devices sum to the loss.
    """
    score_maps = []
    for scale in SCALES[: len(target_maps)]:
        size = [int(n * scale) for n in images.shape[1:3]]
        scaled = images if scale == 1 else resize_bilinear(images, size)
        score_maps.append(outputs(tf.cast(model(scaled, training=True), tf.float32)))
    terms = list(zip(score_maps, target_maps, counts, strict=True))
    if len(score_maps) > 1:
        full_size = score_maps[0].shape[1:3]
        fused = [score_maps[0], *(resize_bilinear(part, full_size) for part in score_maps[1:])]
        terms.append((tf.reduce_max(tf.stack(fused), axis=0), target_maps[0], counts[0]))
    return tf.add_n([_cross_entropy(*term) for term in terms])


def tag_loss(
    model: Callable, images: tf.Tensor, target: Sequence[tf.Tensor], counts: Sequence[tf.Tensor]
) -> tf.Tensor:
    """The sigmoid cross entropy of a batch of tags, summed and divided by how many there are.

    model: function of (images, training) to responses [batch, rows, columns, tags].
    images: float32 [batch, height, width, 3]. target: one float32 [batch, tags]. counts: one
    scalar, the tags of all images of all devices.
    Returns a float32 scalar: this device's share; the shares of all devices sum to the loss.
    """
    responses = tf.cast(model(images, training=True), tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=target[0], logits=tf.reduce_mean(responses, axis=[1, 2])
    )
    return tf.reduce_sum(losses) / counts[0]


def _cross_entropy(score_map, target, count):
    labelled = target >= 0
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(labelled, target, 0), logits=score_map
    )
    total = tf.reduce_sum(tf.where(labelled, losses, 0.0))
    return total / tf.cast(tf.maximum(count, 1), tf.float32)  # no pixel labelled: a loss of 0


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


def rate_multiplier(name: str, recipe: Recipe) -> float:
    """How much faster than the poly rate a variable learns.

    name: of the variable in checkpoints. recipe: Recipe of the network.
    """
    if recipe.classifier in name:
        return 10.0 if is_kernel(name) else 20.0
    return 1.0 if is_kernel(name) else recipe.bias_rate


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
