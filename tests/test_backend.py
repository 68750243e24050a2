"""What the user has set for Keras elsewhere changes nothing here."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRINT_SETTINGS = """
from deeplablib.utils.backend import keras
c = keras.config
print(c.backend(), c.floatx(), c.epsilon(), c.image_data_format(), c.dtype_policy().name)
"""


def test_a_keras_json_changes_nothing(tmp_path):
    settings = {'backend': 'torch', 'floatx': 'float16', 'epsilon': 0.1}
    settings['image_data_format'] = 'channels_first'
    (tmp_path / 'keras.json').write_text(json.dumps(settings))
    result = subprocess.run(
        [sys.executable, '-c', PRINT_SETTINGS],
        env=os.environ | {'KERAS_HOME': str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == ['tensorflow', 'float32', '1e-07', 'channels_last', 'float32']
