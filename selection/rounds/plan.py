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

from deeplablib.utils.stages import Stage
from selection.mask_quality import ANNOTATION_MEASURES
from selection.rounds import round_stages as make
from selection.rounds.round_settings import DataPaths, RoundSettings

SCORE_MAPS = 'scores'  # folder of the score maps, in that of the labels


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
    """The stages that make the masks that go on from a round."""
    folder = work / f'round_{number}'
    return refined_masks(
        f'round {number}',
        data,
        settings,
        model=folder / 'model',
        predictions=folder / 'train',
        out=folder / 'refined',
        single_scale=settings.single_scale,
    )


def refined_masks(
    name: str,
    data: DataPaths,
    settings: RoundSettings,
    model: Path,
    predictions: Path,
    out: Path,
    single_scale: bool,
) -> list[Stage]:
    """Label the training images with a model, restricted to their tags, and refine by the CRF.

    predictions: folder of the model's own labels; its score maps go to a folder in it.
    out: folder of the refined masks.
    """
    predict = predict_score_maps(
        name,
        data,
        settings,
        model=model,
        image_list=data.train_list,
        out=predictions,
        single_scale=single_scale,
        tags=data.tags,
    )
    return [predict, make.refine(name, data, settings, predictions / SCORE_MAPS, out)]


def predict_score_maps(
    name: str,
    data: DataPaths,
    settings: RoundSettings,
    model: Path,
    image_list: Path,
    out: Path,
    single_scale: bool,
    tags: Path | None = None,
) -> Stage:
    """The stage that labels a list and saves the score maps too, in OUT/scores; for the CRF."""
    return make.predict(
        name,
        data,
        settings,
        model=model,
        image_list=image_list,
        out=out,
        single_scale=single_scale,
        score_maps=out / SCORE_MAPS,
        tags=tags,
    )


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
            name, folder = f'round {number}', work / f'round_{number}'
            if settings.candidates:
                stages += chosen_candidates(
                    name,
                    data,
                    settings,
                    proxies=work / 'proxies',
                    before=folder,
                    chosen=folder / 'chosen',
                    train_list=train_list,
                )
            else:
                stages.append(make.select(name, data, settings, folder / 'refined', train_list))
    return stages, work / f'round_{rounds}' / 'model'


def chosen_candidates(
    name: str,
    data: DataPaths,
    settings: RoundSettings,
    proxies: Path,
    before: Path,
    chosen: Path,
    train_list: Path,
) -> list[Stage]:
    """Choose the refined mask or the proxy annotation of each image, whichever agrees better with
    the network, and list the best of the chosen masks.

    proxies: folder of the proxy annotations. before: folder of the round that the refined masks are
    from. chosen: folder of the chosen masks. train_list: the list of the next round.
    """
    candidates = proxies, before / 'refined'
    settings = replace(settings, measure=ANNOTATION_MEASURES[0])
    return [
        make.candidates(name, data, candidates, before / 'train' / SCORE_MAPS, chosen),
        make.select(name, data, settings, chosen, train_list),
    ]


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
    last, after = work / 'last', work / 'crf'
    return [
        predict_score_maps(
            'last',
            data,
            settings,
            model=model,
            image_list=data.val_list,
            out=last,
            single_scale=settings.single_scale_at_last,
        ),
        make.evaluate('last', data, last, work / 'last.json'),
        make.crf(data, settings, last / SCORE_MAPS, after),
        make.evaluate('CRF', data, after, work / 'crf.json'),
    ]


def final_masks(data: DataPaths, settings: RoundSettings, model: Path, work: Path) -> list[Stage]:
    """The stages of the masks of the training images, where there are no others to label.

    The last network at several scales, restricted to the tags, and the CRF.
    """
    return refined_masks(
        'last',
        data,
        settings,
        model=model,
        predictions=work / 'last',
        out=work / 'masks',
        single_scale=settings.single_scale_at_last,
    )
