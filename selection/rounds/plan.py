"""The rounds of SPSM as a row of commands.

Where there are no localization cues, they are made from the tags first. Round 1 is trained on the
proxy annotations. After each round the network labels the training images, the CRF refines its
score maps, and the masks of the best quality go on to the next; every round starts from the same
initial checkpoint.

Known: three rounds, the restart, and that high-quality masks are selected. Reconstructed: the rest.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deeplablib.run.stage_runner import Stage
from selection.rounds import round_stages as make
from selection.rounds.round_settings import DataPaths, RoundSettings


def cues_from_tags(
    data: DataPaths, settings: RoundSettings, work: Path
) -> tuple[list[Stage], DataPaths]:
    """The stages that make cues from the tags, and the data with these cues."""
    classifier = make.classifier(data, settings, work / 'classifier')
    cams = make.cams(data, classifier.output, work / 'cues')
    return [classifier, cams], replace(data, cues=cams.output)


def first_annotations(data: DataPaths, work: Path) -> tuple[list[Stage], Path]:
    """The stages that make the proxy annotations of round 1, and the list of that round."""
    proxies = make.proxies(data, work / 'proxies')
    every = make.keep_all('list 1', data, proxies.output, work / 'train_1.txt')
    return [proxies, every], every.output


def one_round(
    number: int, data: DataPaths, settings: RoundSettings, train_list: Path, work: Path
) -> list[Stage]:
    """One round: train, label the validation images, if any, and evaluate."""
    name, work = f'round {number}', work / f'round_{number}'
    model, val = work / 'model', work / 'val'
    stages = [make.train(name, data, settings, train_list, model)]
    if data.val_list is not None:
        stages += [
            make.predict(name, data, settings, model, data.val_list, val, single_scale=True),
            make.evaluate(name, data, val, work / 'val.json'),
        ]
    return stages


def new_masks(number: int, data: DataPaths, settings: RoundSettings, work: Path) -> list[Stage]:
    """What makes the masks that go on from a round: label the training images, and refine."""
    name, work = f'round {number}', work / f'round_{number}'
    masks, score_maps = work / 'train', work / 'train/scores'
    return [
        make.predict(
            name,
            data,
            settings,
            model=work / 'model',
            image_list=data.train_list,
            out=masks,
            single_scale=settings.single_scale,
            score_maps=score_maps,
            tags=data.tags,
        ),
        make.refine(name, data, settings, score_maps, work / 'refined'),
    ]


def all_rounds(
    data: DataPaths, settings: RoundSettings, work: Path, rounds: int
) -> tuple[list[Stage], Path]:
    """All rounds from the cues on. Returns the stages and the folder of the last model."""
    stages, train_list = first_annotations(data, work)
    for number in range(1, rounds + 1):
        stages += one_round(number, data, settings, train_list, work)
        if number < rounds:
            stages += new_masks(number, data, settings, work)
            train_list = work / f'train_{number + 1}.txt'
            refined = work / f'round_{number}' / 'refined'
            stages.append(make.select(f'round {number}', data, settings, refined, train_list))
    return stages, work / f'round_{rounds}' / 'model'


def given_annotations(
    data: DataPaths, settings: RoundSettings, work: Path, annotations: Sequence[Path]
) -> tuple[list[Stage], Path]:
    """The rounds where the annotations of each are given: train on each, in turn.

    annotations: absolute paths, one a round: a folder of NAME.png, of which every mask is taken, or
    a list of images and masks. Returns the stages and the folder of the last model.
    """
    stages, lists = [], list(annotations)
    for number, given in enumerate(annotations, 1):
        if not given.is_file():  # all of them first: an empty folder is found before any training
            lists[number - 1] = work / f'train_{number}.txt'
            stages.append(make.keep_all(f'list {number}', data, given, lists[number - 1]))
    for number, train_list in enumerate(lists, 1):
        stages += one_round(number, data, settings, train_list, work)
    return stages, work / f'round_{len(lists)}' / 'model'


def final_predictions(
    data: DataPaths, settings: RoundSettings, model: Path, work: Path
) -> list[Stage]:
    """The stages of the last numbers, before and after the CRF, on the validation images."""
    if data.val_list is None:
        raise ValueError('there are no validation images')
    last, score_maps, after = work / 'last', work / 'last/scores', work / 'crf'
    return [
        make.predict(
            'last',
            data,
            settings,
            model=model,
            image_list=data.val_list,
            out=last,
            single_scale=settings.single_scale,
            score_maps=score_maps,
        ),
        make.evaluate('last', data, last, work / 'last.json'),
        make.crf(data, settings, score_maps, after),
        make.evaluate('CRF', data, after, work / 'crf.json'),
    ]


def final_masks(data: DataPaths, settings: RoundSettings, model: Path, work: Path) -> list[Stage]:
    """The stages of the masks of the training images, where there are no others to label.

    The last network at several scales, restricted to the tags, and the CRF.
    """
    last, score_maps = work / 'last', work / 'last/scores'
    return [
        make.predict(
            'last',
            data,
            settings,
            model=model,
            image_list=data.train_list,
            out=last,
            single_scale=settings.single_scale,
            score_maps=score_maps,
            tags=data.tags,
        ),
        make.refine('last', data, settings, score_maps, work / 'masks'),
    ]
