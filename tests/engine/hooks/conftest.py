"""What a hook sees: a trainer of one layer whose steps are the tests' own."""

import pytest
import torch

from dmaelab.engine.trainer import Trainer


@pytest.fixture
def trainer():
    """Return a trainer of ten steps that has taken none."""
    model = torch.nn.Linear(2, 1)
    return Trainer(model, torch.optim.SGD(model.parameters(), lr=0.5), iter(()), 10, torch.device("cpu"))


@pytest.fixture
def step(trainer):
    """Return a function that calls a hook's ``after_step`` as after the step of that number, with these losses."""

    def take(hook, number, **losses):
        trainer.register_hooks([hook] if hook not in trainer.hooks else [])
        trainer.step = number
        trainer.losses = {name: torch.tensor(value) for name, value in losses.items()}
        hook.after_step()

    return take
