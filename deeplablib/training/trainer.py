"""The training step: a network, its momentum, and what changes both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplablib.data.image_lists import Sample
from deeplablib.data.voc import colour_map
from deeplablib.network.network_spec import NetworkSpec, Recipe
from deeplablib.network.recompute import recomputed
from deeplablib.network.resize import resize_bilinear
from deeplablib.prediction.multi_scale import SCALES, SINGLE_SCALE, multi_scale_score_map
from deeplablib.training import objective
from deeplablib.training.batches import BatchSettings, make_dataset
from deeplablib.training.training_settings import TrainingSettings
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
        settings: TrainingSettings,
        batches: BatchSettings,
        tag_labels: npt.NDArray[np.uint8] | None = None,
    ):
        """Take a Keras model, its NetworkSpec, one of its recipes, and the settings.

        tag_labels: uint8 [samples, tags] for a tag classifier, which has no masks to learn from.
        """
        self._forward = recomputed(model) if settings.recompute else model
        self.model, self.recipe, self.settings, self.batches = model, recipe, settings, batches
        self.tag_labels = tag_labels
        if tag_labels is None:
            num_classes = model.output.shape[-1]
            self.objective = objective.pixel_objective(num_classes, recipe.outputs, settings.msc)
        else:
            self.objective = objective.tag_objective()
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
                self.batches,
                steps,
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
        results = self.strategy.run(self._replica_step, args=(images, labels, step))
        return [self.strategy.experimental_local_results(result)[0] for result in results]

    def _replica_step(self, images, labels, step):
        settings = self.settings
        replica = tf.distribute.get_replica_context()
        variables = list(self._trainable.values())

        def targets_of(i):
            return self.objective.targets(labels[i])

        micro_batches = self.batches.grad_update_every
        # Counted ahead, because devices cannot agree on a number in the middle of a loop.
        counts = [
            [self.objective.count(target) for target in targets_of(i)] for i in range(micro_batches)
        ]
        counts = tf.cast(counts, tf.float32)  # not every device can sum integers
        counts = replica.all_reduce(tf.distribute.ReduceOp.SUM, counts)

        loss, gradients = tf.constant(0.0), [tf.zeros(v.shape) for v in variables]
        for i in tf.range(micro_batches) if micro_batches > 1 else range(1):
            position = (step * micro_batches + tf.cast(i, tf.int64)) * len(SCALES)
            position = position * replica.num_replicas_in_sync
            position += tf.cast(replica.replica_id_in_sync_group, tf.int64) * len(SCALES)
            share, micro_gradients = self._micro_batch(
                images[i], targets_of(i), counts[i], position
            )
            loss += share / micro_batches
            gradients = [
                total + part / micro_batches
                for total, part in zip(gradients, micro_gradients, strict=True)
            ]
        loss, *gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])

        loss += objective.weight_decay_loss(self._trainable, settings.weight_decay)
        rate = objective.poly_rate(step, settings.learning_rate, settings.num_steps, settings.power)
        for (name, variable), gradient in zip(self._trainable.items(), gradients, strict=True):
            if objective.is_kernel(name):
                gradient += settings.weight_decay * variable.value
            objective.apply_momentum(
                variable,
                self._slots[f'{name}/Momentum'],
                gradient,
                rate * objective.rate_multiplier(name, self.recipe),
                settings.momentum,
            )
        return loss, rate

    def _micro_batch(self, images, target_maps, counts, position):
        """Loss and gradients of one forward and backward pass.

        position: int64 scalar, unique to this pass; dropout is drawn from it.
        """
        variables = [v.value for v in self._trainable.values()]
        seeds = [
            (state, tf.cast([self.settings.random_seed + layer, position], state.dtype))
            for layer, state in enumerate(self._seeds)
        ]
        with tf.GradientTape() as tape, keras.StatelessScope(state_mapping=seeds) as scope:
            loss = self.objective.loss(self._forward, images, target_maps, tf.unstack(counts))
        # The scope kept the statistics of a batch norm that learns from being assigned.
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                for variable in (layer.moving_mean, layer.moving_variance):
                    update = scope.get_current_value(variable)
                    if update is not None:
                        variable.assign(update)
        return loss, tape.gradient(loss, variables)

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
        image = tf.reverse(images + tf.constant(self.batches.img_mean, tf.float32), [-1])
        labels = tf.gather(colours, tf.cast(labels, tf.int32))
        return tf.saturate_cast(tf.round(tf.concat([image, labels, prediction], 2)), tf.uint8)
