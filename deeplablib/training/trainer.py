"""The training step: a network, its momentum, and what changes both."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.images import IMG_MEAN
from deeplablib.data.voc import colour_map
from deeplablib.network.network_spec import NetworkSpec, Recipe
from deeplablib.network.recompute import recomputed
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, multi_scale_score_map
from deeplablib.training import objective
from deeplablib.training.batches import make_dataset
from deeplablib.utils.backend import keras, tf

PANEL_IMAGES = 2


class Trainer:
    """A network in training: its variables, their momentum, and the step that changes them.

    Make it, like the model, in the scope of the tf.distribute strategy that it trains under.

    variables: dict of all variables, network's and momentum, from checkpoint name to variable.
    """

    def __init__(
        self,
        model: keras.Model,
        network: NetworkSpec,
        recipe: Recipe,
        settings: Any,
        img_mean: tuple[float, float, float] = IMG_MEAN,
        tag_labels: npt.NDArray[np.uint8] | None = None,
    ):
        """Take a Keras model, its NetworkSpec, one of its recipes, and the flags of a training.

        settings: the flags of main.py, or what else has them as attributes. img_mean: blue, green,
        red. tag_labels: uint8 [samples, tags] for a tag classifier, which has no masks to learn
        from.
        """
        self._forward = recomputed(model) if settings.recompute else model
        self.model, self.network, self.recipe, self.settings = model, network, recipe, settings
        self.img_mean, self.tag_labels = img_mean, tag_labels
        self.strategy = tf.distribute.get_strategy()
        weights = network.variables(model)
        self._trainable = {name: v for name, v in weights.items() if v.trainable}
        self._slots = {
            f'{name}/Momentum': tf.Variable(tf.zeros(v.shape), trainable=False)
            for name, v in self._trainable.items()
        }
        self.variables = weights | self._slots
        self._seeds = [
            layer.seed_generator.state
            for layer in model.layers
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0
        ]

    def distribute(self, samples: Sequence[Sample], steps: range) -> Any:
        """The batches of some steps, one element a step, for the devices of this process."""

        def make(context):
            local = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * local
            replicas = slice(first, first + local)
            return make_dataset(
                samples,
                self.settings,
                steps,
                self.img_mean,
                replicas=context.num_replicas_in_sync,
                local_replicas=replicas,
                tag_labels=self.tag_labels,
            )

        return self.strategy.distribute_datasets_from_function(make)

    @tf.function
    def step(self, images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> list[tf.Tensor]:
        """Take one step.

        images, labels: an element of distribute. step: int64 scalar, 0 to num_steps.
        Returns the loss before the step and the rate of the step, float32 scalars.
        """
        results = self.strategy.run(self._step_of_device, args=(images, labels, step))
        return [self.strategy.experimental_local_results(result)[0] for result in results]

    def _step_of_device(self, images, labels, step):
        settings, device = self.settings, tf.distribute.get_replica_context()
        if self.tag_labels is None:
            loss_of = partial(objective.pixel_loss, outputs=self.recipe.outputs)
            every_label = tf.reshape(labels, [-1, *labels.shape[2:]])
            classes = self.model.output.shape[-1]
            targets = objective.pixel_targets(
                every_label, classes, settings.msc, settings.output_stride
            )
            targets = [tf.reshape(t, [*labels.shape[:2], *t.shape[1:]]) for t in targets]
        else:
            loss_of, targets = objective.tag_map_loss, [tf.cast(labels, tf.int32)]
        # Counted ahead, because devices cannot agree on a number in the middle of a loop.
        counts = [
            tf.math.count_nonzero(t >= 0, axis=range(1, len(t.shape)), dtype=tf.int32)
            for t in targets
        ]
        counts = tf.cast(counts, tf.float32)  # not every device can sum integers
        counts = device.all_reduce(tf.distribute.ReduceOp.SUM, counts)

        rate = objective.poly_rate(step, settings.learning_rate, settings.num_steps, settings.power)
        of_encoder = objective.warm_up(step, settings.warmup_steps)
        variables = [v.value for v in self._trainable.values()]
        loss, gradients = tf.constant(0.0), [tf.zeros(v.shape) for v in variables]
        parts = settings.grad_update_every
        for i in tf.range(parts) if parts > 1 else range(1):
            # Unique to this pass: dropout is drawn from it.
            position = (step * parts + tf.cast(i, tf.int64)) * len(SCALES)
            position = position * device.num_replicas_in_sync
            position += tf.cast(device.replica_id_in_sync_group, tf.int64) * len(SCALES)
            seeds = [
                (state, tf.cast([settings.random_seed + layer, position], state.dtype))
                for layer, state in enumerate(self._seeds)
            ]
            with tf.GradientTape() as tape, keras.StatelessScope(state_mapping=seeds) as scope:
                share = loss_of(
                    self._forward, images[i], [t[i] for t in targets], tf.unstack(counts[:, i])
                )
            self._keep_statistics(scope)
            loss += share / parts
            gradients = [
                total + part / parts
                for total, part in zip(gradients, tape.gradient(share, variables), strict=True)
            ]
        loss, *gradients = device.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])

        loss += objective.weight_decay_loss(self._trainable, settings.weight_decay)
        for (name, variable), gradient in zip(self._trainable.items(), gradients, strict=True):
            if objective.is_kernel(name):
                gradient += settings.weight_decay * variable.value
            objective.apply_momentum(
                variable,
                self._slots[f'{name}/Momentum'],
                gradient,
                rate * objective.rate_multiplier(name, self.recipe, of_encoder),
                settings.momentum,
            )
        return loss, rate

    def _keep_statistics(self, scope):
        """Assign the statistics of a batch norm that learns, which a StatelessScope has kept."""
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                for variable in (layer.moving_mean, layer.moving_variance):
                    update = scope.get_current_value(variable)
                    if update is not None:
                        variable.assign(update)

    def is_finite(self) -> bool:
        """Whether all variables are: a step can spoil them although its loss was finite."""
        return all(np.isfinite(v.numpy()).all() for v in self.variables.values())

    @tf.function
    def panel(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The picture for TensorBoard: image, label and prediction side by side.

        images, labels: an element of distribute. Returns uint8 [images, height, 3 * width, 3].
        """
        local = self.strategy.experimental_local_results
        images = local(images)[0][0, :PANEL_IMAGES]
        labels = local(labels)[0][0, :PANEL_IMAGES]
        scales = SCALES if self.settings.msc else SINGLE_SCALE
        score_map = multi_scale_score_map(self.model, self.recipe.outputs, images, scales)
        score_map = resize_bilinear(score_map, images.shape[1:3])
        colours = tf.constant(colour_map(), tf.float32)  # a GPU gathers no bytes
        prediction = tf.gather(colours, tf.argmax(score_map, -1, tf.int32))
        image = tf.reverse(images + tf.constant(self.img_mean, tf.float32), [-1])
        labels = tf.gather(colours, tf.cast(labels, tf.int32))
        return tf.saturate_cast(tf.round(tf.concat([image, labels, prediction], 2)), tf.uint8)
