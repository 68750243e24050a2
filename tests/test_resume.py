import os

from deeplablib.training.training_log import read_log
from deeplablib.weights import checkpoints
from tests.command import run_process
from tests.conversion import assert_same
from tests.training_run import flags_of, make_samples, run_main

KILLS = int(os.environ.get('KILLS', 6))


def test_killed_at_random_moments_a_run_ends_in_the_same_weights(tmp_path):
    make_samples(tmp_path)
    # Dropout, shuffling, scaling and mirroring are all on.
    flags = {'num_steps': 30, 'save_interval': 2, 'max_to_keep': 3}
    flags |= {'valid_every': 3, 'valid_num_steps': 2, 'valid_data_list': tmp_path / 'list.txt'}
    assert run_main(tmp_path, 'whole', **flags).code == 0
    modeldir = tmp_path / 'killed/model'
    modeldir.mkdir(parents=True)
    killed = flags_of(tmp_path, 'killed', **flags)
    result = run_process('-m', 'tests.kill_and_resume', modeldir, str(KILLS), '2.5', *killed)
    assert result.returncode == 0, result.stdout + result.stderr
    kills, in_saves = map(int, result.stdout.splitlines()[-1].split())
    assert kills == KILLS and in_saves >= KILLS // 6, result.stdout

    whole = tmp_path / 'whole/model'
    for checkpoint in ('model.ckpt-30', 'model.ckpt-best'):
        assert_same(checkpoints.read(modeldir / checkpoint), checkpoints.read(whole / checkpoint))
    assert read_log(modeldir / 'validation.txt') == read_log(whole / 'validation.txt')
    assert read_log(tmp_path / 'killed/log.txt') == read_log(tmp_path / 'whole/log.txt')
    assert len(list(modeldir.glob('*-[0-9]*.index'))) == 3 and not list(modeldir.glob('.model*'))
