"""The kinds of classifiers, behind one interface: fit, give probabilities, save, load."""

import json
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnnflow.array_types import FloatArray
from gnnflow.errors import ConfigError, one_line
from gnnflow.files.regular_file import open_regular
from gnnflow.optional import require_package
from gnnflow.policies.classifier.sklearn_check import unsound
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.observation_features import FEATURE_NAMES

_PURPOSE = "the classifier policy"
# Parts of scikit-learn's own models that skops does not count among the plain ones.
_KNOWN_TYPES = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)


class Classifier(ABC):
    """Says how likely replacing is the better choice, from features."""

    file_name: ClassVar[str]
    """Name of its file in a classifier's folder."""

    @abstractmethod
    def fit(
        self, features: FloatArray, labels: NDArray[np.bool_], weights: FloatArray, seed: int
    ) -> None:
        """Learns from situations.

        Args:
            features: float64 `[num_situations, num_features]`.
            labels: whether replacing is the better choice, `[num_situations]`.
            weights: how much each situation counts, float64 `[num_situations]`.
            seed: of everything random.
        """

    @abstractmethod
    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of replacing being better, float64 `[num_situations]`."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Writes what was learnt; no pickle."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Reads what `save` wrote.

        Raises:
            PolicyError: if the file is damaged or holds something else.
        """


class SklearnClassifier(Classifier):
    """A pipeline of scikit-learn, saved with skops, which loads types it knows and no others."""

    file_name = "model.skops"

    def __init__(self, kind: str) -> None:
        """Sets the kind: lr, rf, svm or mlp."""
        self._kind = kind
        self._model: Any = None

    def fit(
        self, features: FloatArray, labels: NDArray[np.bool_], weights: FloatArray, seed: int
    ) -> None:
        """Learns from situations."""
        self._model = self._make(seed)
        last = self._model.steps[-1][0]
        self._model.fit(features, labels, **{f"{last}__sample_weight": weights})

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of replacing being better."""
        probabilities: FloatArray = self._model.predict_proba(features)[:, 1]
        return probabilities

    def save(self, path: Path) -> None:
        """Writes the pipeline."""
        skops = require_package("skops.io", extra="classifier", purpose=_PURPOSE)
        skops.dump(self._model, path, compression=zipfile.ZIP_DEFLATED)

    def load(self, path: Path) -> None:
        """Reads the pipeline; a file with types of its own is refused."""
        skops = require_package("skops.io", extra="classifier", purpose=_PURPOSE)
        require_package("sklearn", extra="classifier", purpose=_PURPOSE, package="scikit-learn")
        try:
            unknown = sorted(set(skops.get_untrusted_types(file=path)) - set(_KNOWN_TYPES))
            if unknown:
                raise PolicyError(f"{path} holds types that no classifier needs: {unknown[0]}")
            model = skops.load(path, trusted=list(_KNOWN_TYPES))
        except PolicyError:
            raise
        except Exception as error:
            raise PolicyError(f"cannot load the classifier {path}: {one_line(error)}") from error
        try:
            wrong = unsound(model, self._make(0), len(FEATURE_NAMES))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            wrong = f"something in it is not what it seems ({one_line(error)})"
        if wrong is not None:
            raise PolicyError(f"{path} holds no classifier of kind {self._kind}: {wrong}")
        self._model = model

    def _make(self, seed: int) -> Any:
        require_package("sklearn", extra="classifier", purpose=_PURPOSE, package="scikit-learn")
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        if self._kind == "lr":
            return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
        if self._kind == "rf":
            forest = RandomForestClassifier(
                n_estimators=60, max_depth=9, min_samples_leaf=8, random_state=seed
            )
            return make_pipeline(forest)
        if self._kind == "svm":
            return make_pipeline(
                StandardScaler(), CalibratedClassifierCV(SVC(C=2.0), ensemble=False, cv=3)
            )
        network = MLPClassifier((32, 16), alpha=0.3, max_iter=150, tol=1e-3, random_state=seed)
        return make_pipeline(StandardScaler(), network)


class XgbClassifier(Classifier):
    """Boosted trees of XGBoost, in its own file format."""

    file_name = "model.ubj"

    def __init__(self) -> None:
        """Looks for XGBoost."""
        self._xgboost = require_package(
            "xgboost", extra="xgb", purpose="the classifier xgb", package="xgboost-cpu"
        )
        self._booster: Any = None

    def fit(
        self, features: FloatArray, labels: NDArray[np.bool_], weights: FloatArray, seed: int
    ) -> None:
        """Learns from situations."""
        data = self._xgboost.DMatrix(features, label=labels, weight=weights)
        options = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "subsample": 0.8}
        options |= {"seed": seed, "nthread": 1, "min_child_weight": 4}
        self._booster = self._xgboost.train(options, data, num_boost_round=150)

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of replacing being better."""
        predicted = self._booster.predict(self._xgboost.DMatrix(features))
        return np.asarray(predicted, dtype=np.float64)

    def save(self, path: Path) -> None:
        """Writes the trees."""
        self._booster.save_model(path)

    def load(self, path: Path) -> None:
        """Reads the trees."""
        booster = self._xgboost.Booster({"nthread": 1})
        try:
            booster.load_model(path)
        except self._xgboost.core.XGBoostError as error:
            reason = str(error).strip().splitlines()[0]
            raise PolicyError(f"cannot load the classifier {path}: {reason}") from error
        self._booster = booster


class TabnetClassifier(Classifier):
    """A TabNet of pytorch-tabnet; its weights as safetensors, since its own format pickles."""

    file_name = "model.safetensors"

    def __init__(self) -> None:
        """Looks for pytorch-tabnet."""
        purpose = "the classifier tabnet"
        self._tabnet = require_package(
            "pytorch_tabnet.tab_model", extra="tabnet", purpose=purpose, package="pytorch-tabnet"
        )
        self._safetensors = require_package(
            "safetensors.torch", extra="tabnet", purpose=purpose, package="safetensors"
        )
        self._model: Any = None

    def fit(
        self, features: FloatArray, labels: NDArray[np.bool_], weights: FloatArray, seed: int
    ) -> None:
        """Learns from situations."""
        self._model = self._tabnet.TabNetClassifier(seed=seed, verbose=0)
        batch = min(1024, len(features))
        self._model.fit(
            features.astype(np.float32),
            labels.astype(np.int64),
            weights=weights,
            max_epochs=60,
            batch_size=batch,
            virtual_batch_size=min(128, batch),
            drop_last=False,
        )

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of replacing being better."""
        predicted = self._model.predict_proba(features.astype(np.float32))[:, 1]
        return np.asarray(predicted, dtype=np.float64)

    def save(self, path: Path) -> None:
        """Writes the weights, and the shape of the network beside them."""
        # Layers that TabNet shares are written once for each user: the format knows no sharing.
        self._safetensors.save_file(
            {name: value.clone() for name, value in self._model.network.state_dict().items()},
            path,
            metadata={"num_features": str(self._model.input_dim)},
        )

    def load(self, path: Path) -> None:
        """Builds a network of the same shape and fills in the weights."""
        try:
            weights = self._safetensors.load_file(path)
            with open_regular(path) as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(size))
            num_features = int(header["__metadata__"]["num_features"])
            model = self._tabnet.TabNetClassifier(verbose=0)
            model.input_dim, model.output_dim = num_features, 2
            model.classes_ = np.array([0, 1])
            model.preds_mapper = {"0": 0, "1": 1}
            model._set_network()
            model.network.load_state_dict(weights)
            model.network.eval()
        except Exception as error:
            raise PolicyError(f"cannot load the classifier {path}: {one_line(error)}") from error
        self._model = model


KINDS = ("lr", "rf", "svm", "mlp", "xgb", "tabnet")
"""Names of the kinds."""


def make_classifier(kind: str) -> Classifier:
    """An untrained classifier of a kind.

    Raises:
        ConfigError: if there is no such kind.
        MissingExtraError: if its package is not installed.
    """
    if kind in ("lr", "rf", "svm", "mlp"):
        return SklearnClassifier(kind)
    if kind == "xgb":
        return XgbClassifier()
    if kind == "tabnet":
        return TabnetClassifier()
    raise ConfigError(f"unknown kind of classifier '{kind}', known are {', '.join(KINDS)}")
