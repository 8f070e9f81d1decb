import pytest
from made_up import make_observation

from gnnflow.policies.classifier.classifier_folder import load_classifier, shipped_classifiers
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy
from gnnflow.policies.labelled_situations import shipped_situations
from gnnflow.policies.llm.prompt import Prompt


def test_examples_and_reference_are_of_both_kinds_and_apart():
    examples, reference = shipped_situations("examples"), shipped_situations("reference")
    for situations in (examples, reference):
        share = sum(item.replace for item in situations) / len(situations)
        assert 0.4 <= share <= 0.6
    asked = Prompt.load(None, explain=False).question
    questions = {asked(item.observation) for item in reference}
    assert not questions & {asked(item.observation) for item in examples}


@pytest.mark.parametrize("kind", ["lr", "mlp", "rf"])
def test_classifiers_that_come_with_gnnflow_see_the_plain_cases(kind):
    pytest.importorskip("skops")
    assert kind in shipped_classifiers()
    description, classifier = load_classifier(kind)
    assert description.kind == kind
    assert description.measures["accuracy"] > description.measures["majority_accuracy"]
    policy = ClassifierPolicy(classifier)
    assert policy.decide(make_observation(incoming_uses=0.6, outgoing_uses=0.0)).replace
    assert not policy.decide(make_observation(incoming_uses=0.05, outgoing_uses=0.2)).replace
