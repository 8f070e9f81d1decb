"""Whether a scikit-learn model from a file is one that scikit-learn could have fitted.

skops loads known types alone, so no code runs. But compiled parts of scikit-learn trust the numbers
in them: a tree whose children point outside of it, or a support vector machine with fewer vectors
than it says, reads memory that is not its own. What is loaded is compared with what fitting makes.
"""

from typing import Any

import numpy as np

_LEAF = -1


def unsound(model: Any, expected: Any, num_features: int) -> str | None:
    """Looks for what no fitted model has.

    Args:
        model: the pipeline that was read.
        expected: an unfitted pipeline of the same kind.
        num_features: width of the features that it will be given.

    Returns:
        What is wrong, in words; None if nothing is.
    """
    if type(model) is not type(expected) or not isinstance(getattr(model, "steps", None), list):
        return "it is no pipeline"
    steps = [step[1] for step in model.steps if isinstance(step, tuple) and len(step) == 2]
    if [type(step) for step in steps] != [type(step) for _, step in expected.steps]:
        return "its steps are not those of its kind"
    for step in steps:
        found = _unsound_step(step, num_features)
        if found is not None:
            return found
    return None


def _unsound_step(step: Any, num_features: int) -> str | None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier

    if getattr(step, "n_features_in_", None) != num_features:
        return f"it is not fitted to {num_features} features"
    if isinstance(step, RandomForestClassifier):
        trees = getattr(step, "estimators_", None)
        if not isinstance(trees, list) or not trees:
            return "its forest has no trees"
        return next((bad for tree in trees if (bad := _unsound_tree(tree, num_features))), None)
    if isinstance(step, CalibratedClassifierCV):
        fitted = getattr(step, "calibrated_classifiers_", None)
        if not isinstance(fitted, list) or not fitted:
            return "nothing in it is calibrated"
        machines = (getattr(one, "estimator", None) for one in fitted)
        return next((bad for one in machines if (bad := _unsound_svc(one, num_features))), None)
    return None


def _unsound_tree(classifier: Any, num_features: int) -> str | None:
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import Tree

    tree: Any = getattr(classifier, "tree_", None)
    if type(classifier) is not DecisionTreeClassifier or type(tree) is not Tree:
        return "its forest holds something other than trees"
    nodes = tree.__getstate__()["nodes"]
    number = np.arange(len(nodes))
    left, right = nodes["left_child"], nodes["right_child"]
    is_leaf = left == _LEAF
    # Children come behind their parents: then every way down ends, and within the tree.
    inside = [(number < side) & (side < len(nodes)) for side in (left, right)]
    fits = (
        len(nodes) > 0
        and tree.node_count == len(nodes)
        and tree.n_features == num_features == getattr(classifier, "n_features_in_", None)
        and tree.n_outputs == 1
        and tree.value.shape == (len(nodes), 1, int(tree.max_n_classes))
        and bool((is_leaf | (inside[0] & inside[1])).all())
        and bool((is_leaf | ((nodes["feature"] >= 0) & (nodes["feature"] < num_features))).all())
    )
    return None if fits else "a tree in it points outside of itself"


def _unsound_svc(machine: Any, num_features: int) -> str | None:
    from sklearn.svm import SVC

    if type(machine) is not SVC or machine.kernel != "rbf":
        return "what is calibrated is no support vector machine"
    vectors = getattr(machine, "support_vectors_", None)
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:
        return "it has no support vectors"
    num = len(vectors)
    shapes = {
        "support_vectors_": (np.float64, (num, num_features)),
        "support_": (np.int32, (num,)),
        "_n_support": (np.int32, (2,)),
        "_dual_coef_": (np.float64, (1, num)),
        "_intercept_": (np.float64, (1,)),
    }
    for name, (dtype, shape) in shapes.items():
        array = getattr(machine, name, None)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (dtype, shape):
            return f"'{name}' of its support vector machine does not fit"
    counts = machine._n_support
    if (counts < 0).any() or counts.sum() != num or getattr(machine, "_sparse", True) is not False:
        return "its support vectors are not as many as it says"
    return None
