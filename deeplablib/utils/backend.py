"""TensorFlow and Keras, set up once. Import both from here.

This module acts when it is imported, which no other one does. It has to: the import of TensorFlow
reads the environment, takes memory of a GPU that is used first, and prints a dozen lines on a
machine without a GPU, which would stand above every message of ours. All of that is settled before
or during that import, or not at all.
"""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_native_messages() -> Iterator[None]:
    """Drop what native code writes to standard error (Python exceptions still rise)."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['KERAS_BACKEND'] = 'tensorflow'

with without_native_messages():
    import keras
    import tensorflow as tf

    # Take GPU memory as it is needed, not all of it at the start.
    for gpu in tf.config.list_physical_devices('GPU'):
        tf.config.experimental.set_memory_growth(gpu, True)

# What a user's keras.json may have otherwise, as the backend above: Keras' own defaults.
keras.config.set_floatx('float32')
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format('channels_last')

__all__ = ['keras', 'tf', 'without_native_messages']
