"""Logistic regression to its end: what a classifier on a frozen encoder is.

The encoder does not learn, so the problem is convex: there is one answer, no rate and no number of
steps. SciPy's L-BFGS finds it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax


def tag_loss(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """The sigmoid cross entropy of each sample, summed over its tags, and its gradient.

    logits: float32 [samples, tags]. targets: the same shape, 1 for a tag that is there, else 0.
    Returns losses [samples], and what they change by with the logits [samples, tags].
    """
    losses = np.logaddexp(0, logits) - targets * logits
    return losses.sum(1), expit(logits) - targets


def class_loss(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """The softmax cross entropy of each sample, and its gradient.

    logits: float32 [samples, classes]. targets: the same shape, 1 for the class, else 0.
    Returns losses [samples], and what they change by with the logits [samples, classes].
    """
    losses = logsumexp(logits, axis=1) - (targets * logits).sum(1)
    return losses, softmax(logits, axis=1) - targets


def fit(
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    loss: Callable,
    l2: float,
    weights: npt.NDArray[np.floating] | None = None,
    most_iterations: int = 300,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Find the linear layer with the least loss.

    features: float32 [samples, channels]. targets: float32 [samples, outputs]. loss: tag_loss or
    class_loss. l2: what half the sum of the squared kernel is multiplied by; the kernel is that for
    features of mean 0 and deviation 1. weights: of the samples; None: all the same.
    Returns kernel [channels, outputs] and bias [outputs], for the features as they are.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    normalised = (features - mean) / deviation
    share = np.ones(len(features)) if weights is None else np.asarray(weights, float)
    share = np.float32(share / share.sum())
    shape = features.shape[1], targets.shape[1]

    def total(parameters):
        kernel, bias = np.float32(parameters[: -shape[1]]).reshape(shape), parameters[-shape[1] :]
        losses, gradients = loss(normalised @ kernel + np.float32(bias), targets)
        gradients = np.float32(gradients * share[:, None])
        of_kernel = normalised.T @ gradients + l2 * kernel
        value = share @ losses + l2 * np.sum(np.square(kernel, dtype=float)) / 2
        return float(value), np.concatenate([of_kernel.ravel(), gradients.sum(0)]).astype(float)

    start = np.zeros(shape[0] * shape[1] + shape[1])
    options = {'maxiter': most_iterations}
    found = minimize(total, start, jac=True, method='L-BFGS-B', options=options).x
    kernel = found[: -shape[1]].reshape(shape) / deviation[:, None]
    bias = found[-shape[1] :] - mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)
