import re

from tests.training_run import make_samples, run_main


def test_a_narrow_network_learns_a_dozen_images_from_scratch(tmp_path):
    """The whole path: list, batches, objective, checkpoint, prediction and evaluation."""
    make_samples(tmp_path, count=12, height=129, width=129)
    flags = {
        'encoder_name': 'res50',
        'width': 1 / 16,
        'num_steps': 120,
        'save_interval': 120,
        'batch_size': 6,
        'input_height': 129,
        'input_width': 129,
        'learning_rate': 0.01,
        'weight_decay': 1e-4,
        'train_batch_norm': True,
        'random_scale': False,
        'random_mirror': False,
    }
    assert run_main(tmp_path, **flags).code == 0
    flags |= {'option': 'test', 'valid_step': 120, 'valid_data_list': tmp_path / 'list.txt'}
    result = run_main(tmp_path, **flags)
    assert result.code == 0, result.error
    mean_iou = float(re.search(r'mean IoU +([0-9.]+)', result.out)[1])
    assert mean_iou > 85, result.out
