"""How the scripts report what went wrong."""

import re
from pathlib import Path

import pytest

from deeplablib.utils import errors
from deeplablib.utils.backend import tf


def report_of(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        errors.run_script(main)
    assert stop.value.code == 1
    report = capsys.readouterr().err
    assert report.count('\n') == 1
    return report


def test_an_error_within_a_graph_is_its_cause_and_where_the_whole_is(capsys):
    @tf.function
    def checked(number):
        with tf.control_dependencies([tf.debugging.assert_positive(number, 'not positive')]):
            return tf.identity(number)

    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        checked(tf.constant(-1))
    report = report_of(raised.value, capsys)
    assert report.startswith('error: TensorFlow: ')
    assert '{{' not in report and '[Op:' not in report
    whole = Path(re.search(r'the whole message: (.+)\)', report)[1])
    assert 'Traceback' in whole.read_text()
    whole.unlink()


def test_an_operation_that_the_processor_lacks_names_a_remedy(capsys):
    error = tf.errors.UnimplementedError(
        None, None, 'Graph execution error:\n\nCPU cannot do this.\n\t [[{{node x}}]] [Op:f]'
    )
    report = report_of(error, capsys)
    assert report.startswith('error: TensorFlow: CPU cannot do this; ')
    assert '--precision float32' in report
    Path(re.search(r'the whole message: (.+)\)', report)[1]).unlink()


def test_lack_of_memory_names_a_remedy(capsys):
    error = tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating')
    assert report_of(error, capsys) == (
        'error: out of memory; take a smaller batch, crop or image\n'
    )
