"""How the scripts report what went wrong."""

import io
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from deeplablib.utils import errors
from deeplablib.utils.backend import tf


def report_of(error, capsys, code=1):
    def main():
        if isinstance(error, Exception):
            raise error
        os.kill(os.getpid(), error)

    with pytest.raises(SystemExit) as stop:
        errors.run_script(main)
    assert stop.value.code == code
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


@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_script_in_one_line_with_its_exit_code(number, code, capsys):
    handler = signal.getsignal(number)
    assert report_of(number, capsys, code) == 'error: interrupted\n'
    assert signal.getsignal(number) == handler


def test_work_can_go_on_to_a_good_place_before_a_signal_ends_it():
    with errors.stop_requests() as requests:
        assert requests == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests == [errors.Terminated]
        with pytest.raises(errors.Terminated), errors.stopping_at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_tilde_in_a_flag_is_the_home_folder(monkeypatch):
    monkeypatch.setenv('HOME', '/home/somebody')
    monkeypatch.setattr(sys, 'argv', ['x', '--modeldir=~/run', '~', 'a~', '--n', '-1', '-o=~/a=~'])
    errors.run_script(lambda: None)
    home = '/home/somebody'
    assert sys.argv == ['x', f'--modeldir={home}/run', home, 'a~', '--n', '-1', f'-o={home}/a=~']


def test_what_the_terminal_cannot_show_is_printed_with_what_it_can(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', terminal)
    errors.run_script(lambda: print('K\xe4fer \udcff', flush=True))
    assert terminal.buffer.getvalue() == b'K\\xe4fer \\udcff\n'
