"""What the user has set for Keras elsewhere changes nothing here."""

import json

from tests.command import run_process

PRINT_SETTINGS = """
from deeplablib.utils.backend import keras
c = keras.config
print(c.backend(), c.floatx(), c.epsilon(), c.image_data_format(), c.dtype_policy().name)
"""


def test_a_keras_json_changes_nothing(tmp_path):
    settings = {'backend': 'torch', 'floatx': 'float16', 'epsilon': 0.1}
    settings['image_data_format'] = 'channels_first'
    (tmp_path / 'keras.json').write_text(json.dumps(settings))
    result = run_process('-c', PRINT_SETTINGS, environment={'KERAS_HOME': str(tmp_path)})
    assert result.stdout.split() == ['tensorflow', 'float32', '1e-07', 'channels_last', 'float32']
