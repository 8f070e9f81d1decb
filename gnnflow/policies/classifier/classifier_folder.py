"""A classifier's folder: the model in a format that runs no code, and what it was trained on."""

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from gnnflow.errors import DataError
from gnnflow.files.json_record import read_record
from gnnflow.files.json_text import parse_json, to_json_text
from gnnflow.files.regular_file import read_regular
from gnnflow.files.whole_file import whole_folder
from gnnflow.policies.classifier.classifiers import Classifier, make_classifier
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.observation import to_json
from gnnflow.policies.observation_features import FEATURE_NAMES, FEATURE_VERSION

_DESCRIPTION = "classifier.json"
_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedClassifier:
    """What a classifier's folder says about the model in it."""

    format_version: int
    """Version of the folder's format."""

    kind: str
    """Kind of classifier."""

    feature_version: int
    """Version of the features that it was trained on."""

    feature_names: tuple[str, ...]
    """Names of those features, in order."""

    num_situations: int
    """Situations that it was trained on."""

    groups: tuple[str, ...] = ()
    """Graphs and configurations that these came from."""

    measures: dict[str, float] = field(default_factory=dict)
    """How well it did on groups that it was not trained on."""


def save_classifier(
    folder: Path,
    kind: str,
    classifier: Classifier,
    *,
    num_situations: int,
    groups: tuple[str, ...],
    measures: dict[str, float],
) -> None:
    """Writes a classifier's folder, complete or not at all.

    Raises:
        DataError: if the folder exists.
    """
    if folder.exists():
        raise DataError(f"{folder} exists; name another folder or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as scratch:
        classifier.save(scratch / classifier.file_name)
        description = SavedClassifier(
            format_version=_FORMAT_VERSION,
            kind=kind,
            feature_version=FEATURE_VERSION,
            feature_names=FEATURE_NAMES,
            num_situations=num_situations,
            groups=groups,
            measures=measures,
        )
        text = to_json_text(to_json(description), indent=1) + "\n"
        (scratch / _DESCRIPTION).write_text(text, encoding="utf-8")


def load_classifier(name: str) -> tuple[SavedClassifier, Classifier]:
    """Loads a classifier by folder, or by the name of one that comes with gnnflow.

    Raises:
        PolicyError: if there is none, it is damaged or was trained on other features.
        MissingExtraError: if its package is not installed.
    """
    folder = Path(name)
    if not folder.is_dir():
        shipped = Path(str(resources.files("gnnflow.policies.classifier"))) / "pretrained" / name
        if not (shipped / _DESCRIPTION).is_file():
            raise PolicyError(
                f"there is no classifier {name}: give a folder written by gnnflow-policy fit, "
                f"or one of {', '.join(shipped_classifiers())}"
            )
        folder = shipped
    try:
        values: Any = parse_json(read_regular(folder / _DESCRIPTION))
        description = read_record(SavedClassifier, values)
    except (OSError, ValueError) as error:
        raise PolicyError(f"{folder} holds no classifier: {error}") from None
    if description.format_version != _FORMAT_VERSION:
        raise PolicyError(
            f"{folder} has format version {description.format_version}, "
            f"this gnnflow reads version {_FORMAT_VERSION}"
        )
    expected = (FEATURE_VERSION, FEATURE_NAMES)
    if (description.feature_version, description.feature_names) != expected:
        raise PolicyError(
            f"{folder} was trained on features of version {description.feature_version}, this "
            f"gnnflow has version {FEATURE_VERSION}: train it again with gnnflow-policy fit"
        )
    classifier = make_classifier(description.kind)
    path = folder / classifier.file_name
    if not path.is_file():
        raise PolicyError(f"{folder} lacks {classifier.file_name}")
    classifier.load(path)
    return description, classifier


def shipped_classifiers() -> list[str]:
    """Names of the classifiers that come with gnnflow."""
    folder = Path(str(resources.files("gnnflow.policies.classifier"))) / "pretrained"
    return sorted(path.parent.name for path in folder.glob(f"*/{_DESCRIPTION}"))
