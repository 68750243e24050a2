"""Where a user's data is, and what is missing of it: everything is looked for before a run."""

from collections.abc import Sequence
from pathlib import Path

from deeplablib.data.image_lists import read_list
from deeplablib.utils.errors import InputError, raise_all
from selection.rounds.round_settings import DataPaths

CLASSES_HELP = 'a text file, a name a line'
PHOTOS_LIST = 'photos.txt'
PHOTOS_COPIES = 'photographs'


def existing(path: str | Path, remedy: str, missing: list[str]) -> Path:
    """A path made absolute; a line about it goes to missing when nothing is there.

    path: a file, a folder, or the prefix of a checkpoint.
    """
    path = Path(path).resolve()
    if not path.exists() and not path.with_name(f'{path.name}.index').exists():
        missing.append(f'{path}: not there; {remedy}')
    return path


def imagenet_weights(path: str | Path, package: str, missing: list[str]) -> Path:
    """The checkpoint that what learns from tags alone starts from.

    package: whose converter makes it. missing: as for existing.
    """
    remedy = f'make it with: python -m {package}.convert imagenet {path}'
    return existing(path, remedy, missing)


def voc_paths(
    data_dir: str,
    dataset: str,
    init: str,
    tags: str | None = None,
    cues: str | None = None,
    saliency: str | None = None,
    classes: str | None = None,
    annotations: Sequence[str] = (),
) -> tuple[DataPaths, list[str]]:
    """Find PASCAL VOC, or a data set in its form.

    dataset: folder of the lists, and of tags.txt where no tags are named. The others are as in
    DataPaths. annotations: these must be there, too.
    Returns a DataPaths, and a list of lines about what is missing.
    Raises InputError when the validation list names no masks.
    """
    missing: list[str] = []

    def given(path, remedy):
        return existing(path, remedy, missing)

    lists = 'make it with: python -m deeplablib.data.prepare_voc VOCROOT'
    images = given(data_dir, 'set DATA_DIRECTORY or --data-dir')
    train_list = given(Path(dataset) / 'train.txt', lists)
    val_list = given(Path(dataset) / 'val.txt', lists)
    tags_file = given(tags or Path(dataset) / 'tags.txt', lists)
    val_masks = images / 'SegmentationClassAug'
    if val_list.exists():
        mask = read_list(val_list, images)[0].mask
        if mask is None:
            raise InputError(f'{val_list}: names no masks; {lists}')
        val_masks = mask.parent.resolve()
    checkpoint = given(init, 'docs/reproduce.md says where to get one, or what to take instead')
    data = DataPaths(
        data_dir=images,
        train_list=train_list,
        val_list=val_list,
        val_masks=val_masks,
        tags=tags_file,
        init=checkpoint,
        cues=given(cues, 'a folder of NAME_<class id - 1>.png') if cues else None,
        saliency=given(saliency, 'a folder of NAME.png') if saliency else None,
        classes=given(classes, CLASSES_HELP) if classes else None,
    )
    for path in annotations:
        given(path, 'a folder of annotations, NAME.png, or a list')
    return data, missing


def photo_paths(
    images: str,
    tags: str,
    imagenet: str,
    package: str,
    init: str | None,
    classes: str | None,
    work: Path,
) -> tuple[DataPaths, list[str]]:
    """Find somebody's photographs, of which there are no true masks.

    images: folder of them. tags: file or folder. imagenet: the checkpoint that the classifier
    starts from, and the rounds too where init is None. package: whose converter makes it.
    work: folder of the run, where the list of the photographs will be.
    Returns a DataPaths, and a list of lines about what is missing.
    Raises InputError when the photographs or their tags are missing: without them there is no plan.
    """
    missing: list[str] = []
    folder = existing(images, 'a folder of photographs', missing)
    tags_file = existing(tags, 'a file or folder of tags', missing)
    raise_all(missing)
    start = imagenet_weights(imagenet, package, missing)
    data = DataPaths(
        photographs=folder,
        data_dir=work / PHOTOS_COPIES,
        train_list=work / PHOTOS_LIST,
        val_list=None,
        val_masks=folder,  # of no use without a val_list
        tags=tags_file,
        init=existing(init, 'a checkpoint', missing) if init else start,
        imagenet=start,
        classes=existing(classes, CLASSES_HELP, missing) if classes else None,
    )
    return data, missing
