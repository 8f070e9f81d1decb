import json

import numpy as np
import pytest

pytest.importorskip("sklearn")

from made_up import make_observation  # noqa: E402

from gnnflow import optional  # noqa: E402
from gnnflow.config import PolicyConfig  # noqa: E402
from gnnflow.errors import ConfigError, DataError, MissingExtraError  # noqa: E402
from gnnflow.policies import (  # noqa: E402
    FEATURE_VERSION,
    Decision,
    Outcome,
    PolicyError,
    RankInfo,
    features,
    make_policy,
)
from gnnflow.policies.classifier.classifier_folder import load_classifier, save_classifier  # noqa: E402
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy  # noqa: E402
from gnnflow.policies.classifier.classifiers import KINDS, make_classifier  # noqa: E402
from gnnflow.policies.classifier.fitting import (  # noqa: E402
    fit_classifier,
    measure,
    split_groups,
    tabulate,
)
from gnnflow.policies.labelled_situations import (  # noqa: E402
    Situation,
    read_situations,
    write_situations,
)

EXTRAS = {"xgb": "xgboost", "tabnet": "pytorch_tabnet"}


def make_situations(num=240, seed=0):
    """Replacing pays where rows that come in are used more than rows that go, plus noise."""
    rng = np.random.default_rng(seed)
    situations = []
    for number in range(num):
        incoming, outgoing = rng.uniform(0, 0.4, 2)
        observation = make_observation(
            incoming_uses=float(incoming),
            outgoing_uses=float(outgoing),
            minibatch=int(rng.integers(0, 150)),
        )
        saved = 200 * (8 * (incoming - outgoing) - 1 + rng.normal(0, 0.1))
        situations.append(
            Situation(
                observation=observation,
                saved_rows=float(saved),
                horizon=8,
                group=f"graph{number % 6}",
            )
        )
    return situations


@pytest.fixture(scope="module")
def table():
    return tabulate(make_situations())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_every_kind_learns_saves_and_loads(kind, table, tmp_path):
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind])
    classifier = fit_classifier(kind, table)
    unseen = tabulate(make_situations(seed=1))
    probabilities = classifier.probabilities(unseen.features)
    result = measure(probabilities, unseen.labels, unseen.weights)
    if kind != "tabnet":  # a few hundred situations do not suffice for it
        assert result["accuracy"] > max(0.85, result["majority_accuracy"])
    folder = tmp_path / kind
    save_classifier(
        folder, kind, classifier, num_situations=240, groups=("a", "b"), measures=result
    )
    description, loaded = load_classifier(str(folder))
    assert (description.kind, description.measures) == (kind, result)
    np.testing.assert_allclose(loaded.probabilities(unseen.features), probabilities, rtol=1e-5)
    with pytest.raises(DataError, match="exists; name another folder"):
        save_classifier(folder, kind, classifier, num_situations=1, groups=(), measures={})
    payload = folder / classifier.file_name
    payload.write_bytes(payload.read_bytes()[:50])
    with pytest.raises(PolicyError, match="cannot load the classifier"):
        load_classifier(str(folder))
    payload.unlink()
    with pytest.raises(PolicyError, match=f"lacks {classifier.file_name}"):
        load_classifier(str(folder))


@pytest.mark.parametrize("kind", ["lr", "xgb", "tabnet"])
def test_a_missing_package_is_named_with_its_extra(kind, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name.partition(".")[0])

    monkeypatch.setattr(optional, "import_module", missing)
    extra = "classifier" if kind == "lr" else kind
    with pytest.raises(MissingExtraError, match=rf'pip install "gnnflow\[{extra}\]"'):
        make_classifier(kind).fit(np.zeros((2, 2)), np.array([True, False]), np.ones(2), 0)


def test_a_file_with_code_in_it_is_refused(tmp_path, table):
    skops = pytest.importorskip("skops.io")
    classifier = fit_classifier("lr", table)
    save_classifier(tmp_path / "lr", "lr", classifier, num_situations=1, groups=(), measures={})
    skops.dump({"call": json.JSONDecoder}, tmp_path / "lr" / "model.skops")
    with pytest.raises(PolicyError, match="types that no classifier needs"):
        load_classifier(str(tmp_path / "lr"))
    skops.dump({"a": 1}, tmp_path / "lr" / "model.skops")
    with pytest.raises(PolicyError, match="holds no classifier"):
        load_classifier(str(tmp_path / "lr"))


def set_children(tree, **changes):
    """Changes the nodes of a fitted tree, as a file may hold them."""
    state = tree.__getstate__()
    for name, (node, value) in changes.items():
        state["nodes"][name][node] = value
    tree.__setstate__(state)


@pytest.mark.parametrize(
    ("name", "value"),
    [("left_child", 10**9), ("right_child", -7), ("left_child", 0), ("feature", 10**6)],
)
def test_a_forest_that_points_outside_of_itself_is_refused(tmp_path, table, name, value):
    classifier = fit_classifier("rf", table)
    forest = classifier._model.steps[-1][1]
    set_children(forest.estimators_[0].tree_, **{name: (0, value)})
    save_classifier(tmp_path / "rf", "rf", classifier, num_situations=1, groups=(), measures={})
    with pytest.raises(PolicyError, match="a tree in it points outside of itself"):
        load_classifier(str(tmp_path / "rf"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_n_support", np.array([10**6, 1], np.int32), "not as many as it says"),
        ("support_vectors_", np.zeros((1, 2)), "does not fit"),
        ("kernel", "precomputed", "no support vector machine"),
        ("_intercept_", np.zeros(0), "'_intercept_' .* does not fit"),
    ],
)
def test_a_support_vector_machine_without_its_vectors_is_refused(
    tmp_path, table, name, value, message
):
    classifier = fit_classifier("svm", table)
    setattr(classifier._model.steps[-1][1].calibrated_classifiers_[0].estimator, name, value)
    save_classifier(tmp_path / "svm", "svm", classifier, num_situations=1, groups=(), measures={})
    with pytest.raises(PolicyError, match=message):
        load_classifier(str(tmp_path / "svm"))


def test_a_model_of_another_kind_is_refused(tmp_path, table):
    classifier = fit_classifier("lr", table)
    save_classifier(tmp_path / "rf", "rf", classifier, num_situations=1, groups=(), measures={})
    with pytest.raises(PolicyError, match="of kind rf: its steps are not those of its kind"):
        load_classifier(str(tmp_path / "rf"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_version": 0}, "trained on features of version 0, .* train it again"),
        ({"feature_names": ["hit_rate"]}, "trained on features"),
        ({"format_version": 9}, "format version 9, this gnnflow reads version 1"),
        ({"kind": 3}, "holds no classifier: SavedClassifier.kind must be"),
    ],
)
def test_a_folder_of_another_version_is_refused(tmp_path, table, change, message):
    classifier = fit_classifier("lr", table)
    save_classifier(tmp_path / "lr", "lr", classifier, num_situations=1, groups=(), measures={})
    file = tmp_path / "lr" / "classifier.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PolicyError, match=message):
        load_classifier(str(tmp_path / "lr"))


def test_what_is_no_classifier(tmp_path):
    with pytest.raises(PolicyError, match="there is no classifier nothing: give a folder"):
        load_classifier("nothing")
    with pytest.raises(PolicyError, match="holds no classifier"):
        load_classifier(str(tmp_path))
    with pytest.raises(ConfigError, match="unknown kind of classifier 'tree'"):
        make_classifier("tree")


def test_groups_are_never_split(table):
    train, test = split_groups(table.groups, 0.3, seed=1)
    assert (train ^ test).all()
    groups = np.array(table.groups)
    assert not set(groups[train]) & set(groups[test])
    assert len(set(groups[test])) == 2
    with pytest.raises(DataError, match="all situations are of the group 'a'"):
        split_groups(["a"] * 5, 0.3, seed=0)


def test_measures_of_known_probabilities():
    labels = np.array([True, True, False, False, False])
    result = measure(np.array([0.9, 0.4, 0.6, 0.1, 0.1]), labels, np.array([4.0, 1, 1, 1, 1]))
    assert result["accuracy"] == pytest.approx(0.6)
    assert result["weighted_accuracy"] == pytest.approx(0.75)
    assert result["majority_accuracy"] == pytest.approx(0.6)
    assert result["precision"] == result["recall"] == pytest.approx(0.5)
    assert result["auc"] == pytest.approx(5 / 6)
    assert result["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.2) / 5)


def test_one_sided_situations_teach_nothing():
    one_sided = [item for item in make_situations() if item.replace]
    with pytest.raises(DataError, match="replacing is better: there is nothing to learn"):
        fit_classifier("lr", tabulate(one_sided))
    with pytest.raises(DataError, match="no situations"):
        tabulate([])


def test_situations_survive_their_file(tmp_path):
    situations = make_situations(5)
    assert write_situations(tmp_path / "s.jsonl", situations) == 5
    assert read_situations(tmp_path / "s.jsonl") == situations
    (tmp_path / "s.jsonl").write_text('{"group": 1}\n')
    with pytest.raises(DataError, match=r"s.jsonl, line 1, is not a situation"):
        read_situations(tmp_path / "s.jsonl")
    with pytest.raises(DataError, match="cannot read the situations"):
        read_situations(tmp_path / "none.jsonl")


def test_a_classifier_sees_what_it_was_trained_on(table):
    situations = make_situations(8)
    classifier = fit_classifier("lr", table)
    policy = ClassifierPolicy(classifier)
    for row, situation in zip(tabulate(situations).features, situations, strict=True):
        np.testing.assert_array_equal(features(situation.observation), row)
        decision = policy.decide(situation.observation)
        assert decision.probability == pytest.approx(classifier.probabilities(row[None])[0])


def test_learning_online_turns_a_wrong_classifier_round(table):
    classifier = fit_classifier("lr", table)
    policy = ClassifierPolicy(classifier, online=True)
    still = ClassifierPolicy(classifier)
    observation = make_observation(incoming_uses=0.4, outgoing_uses=0.0)
    assert policy.decide(observation).replace and still.decide(observation).replace
    bad = Outcome(minibatches=8, hit_rate_change=0.0, volume_change=0.1, saved_rows=-50.0)
    for _ in range(60):
        policy.feedback(observation, Decision(replace=True), bad)
        still.feedback(observation, Decision(replace=True), bad)
    assert not policy.decide(observation).replace
    assert still.decide(observation).replace
    resumed = ClassifierPolicy(classifier, online=True)
    resumed.load_state(json.loads(json.dumps(policy.state())))
    assert resumed.decide(observation) == policy.decide(observation)
    with pytest.raises(DataError, match="features of version 0"):
        resumed.load_state(policy.state() | {"feature_version": FEATURE_VERSION - 1})
    assert still.state().keys() == {"thrift"}


def test_the_registry_builds_it(tmp_path, table):
    save_classifier(
        tmp_path / "mine",
        "lr",
        fit_classifier("lr", table),
        num_situations=240,
        groups=(),
        measures={},
    )
    config = PolicyConfig(policy="classifier", classifier=str(tmp_path / "mine"))
    assert make_policy(config, RankInfo()).decide(make_observation()).replace
