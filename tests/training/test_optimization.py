"""Learning rates: their course, and going on in the middle of it."""

import numpy as np
import pytest
import torch
from torch import nn

from gnnflow.config import OptimizationConfig
from gnnflow.training.optimization import EarlyStopping, LearningRate, make_optimizer

NUM_STEPS, EPOCHS = 5, 4
SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "constant", "warmup_steps": 7},
    {"schedule": "cosine"},
    {"schedule": "cosine", "warmup_steps": 3},
    {"schedule": "step", "lr_patience": 2, "lr_factor": 0.5},
    {"schedule": "plateau", "lr_patience": 1, "lr_factor": 0.5},
    {"schedule": "plateau", "lr_patience": 1, "warmup_steps": 3},
]
SCORES = [0.5, 0.4, 0.6, 0.6]


class Run:
    def __init__(self, **options):
        self.config = OptimizationConfig(lr=0.1, epochs=EPOCHS, **options)
        self.weight = nn.Parameter(torch.ones(1))
        self.optimizer = make_optimizer(self.config, [self.weight])
        self.rate = LearningRate(self.optimizer, self.config, NUM_STEPS)

    def steps(self, first, last):
        """Takes steps of the run; returns the rate of each."""
        rates = []
        for step in range(first, last):
            rates.append(self.rate.current)
            self.weight.grad = torch.ones(1)
            self.optimizer.step()
            self.rate.after_step()
            if (step + 1) % NUM_STEPS == 0:
                self.rate.after_evaluation(SCORES[step // NUM_STEPS])
        return rates


def course(options):
    return Run(**options).steps(0, NUM_STEPS * EPOCHS)


def test_courses():
    constant, warm, cosine, warm_cosine, step, plateau, warm_plateau = map(course, SCHEDULES)
    total = NUM_STEPS * EPOCHS
    rising = [0.1 * (number + 1) / 8 for number in range(7)]
    assert constant == [0.1] * total
    assert warm == pytest.approx([*rising, *[0.1] * (total - 7)])
    turn = np.arange(total) / total
    assert cosine == pytest.approx(0.05 * (1 + np.cos(np.pi * turn)))
    turn = np.arange(total - 3) / (total - 3)
    assert warm_cosine[3:] == pytest.approx(0.05 * (1 + np.cos(np.pi * turn)))
    assert step == pytest.approx([0.1] * 10 + [0.05] * 10)
    assert plateau == pytest.approx([0.1] * 10 + [0.05] * 10)
    assert warm_plateau[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert warm_plateau[10:] == pytest.approx([0.01] * 10)


@pytest.mark.parametrize("options", SCHEDULES)
@pytest.mark.parametrize("done", [1, 3, 5, 12])
def test_going_on(options, done):
    whole = course(options)
    first, second = Run(**options), Run(**options)
    first.steps(0, done)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.rate.load_state_dict(first.rate.state_dict())
    second.rate.go_to(done)
    assert second.steps(done, NUM_STEPS * EPOCHS) == whole[done:]


@pytest.mark.parametrize("options", SCHEDULES[:5])
def test_steps_that_were_lost_or_became_others(options):
    whole = course(options)
    run = Run(**options)
    run.steps(0, 8)
    run.rate.go_to(5)
    assert run.rate.current == pytest.approx(whole[5])
    run.rate.go_to(11)
    assert run.rate.current == pytest.approx(whole[11])


def test_other_options_are_refused():
    state = Run(schedule="cosine").rate.state_dict()
    with pytest.raises(ValueError, match="warmup_steps was 0 and is 2"):
        Run(schedule="cosine", warmup_steps=2).rate.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_optimizers(name, kind):
    config = OptimizationConfig(optimizer=name, lr=0.3, weight_decay=0.2, momentum=0.7)
    optimizer = make_optimizer(config, [nn.Parameter(torch.ones(1))])
    assert type(optimizer) is kind
    [group] = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.2)
    assert group.get("momentum", 0.7) == 0.7


def test_early_stopping():
    stopping = EarlyStopping(2)
    for score, stops in ((0.5, False), (0.4, False), (None, False), (0.6, False), (0.6, False)):
        stopping.after_evaluation(score)
        assert stopping.stops == stops
    again = EarlyStopping(2)
    again.load_state_dict(stopping.state_dict())
    again.after_evaluation(0.1)
    assert again.stops and again.best == 0.6
    never = EarlyStopping(0)
    for _ in range(9):
        never.after_evaluation(0.0)
    assert not never.stops
