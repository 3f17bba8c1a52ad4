import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dmaelab.engine.hooks import EMAHook


def set_weights(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_the_average_begins_with_the_first_weights_and_forgets_by_its_decay(trainer, step):
    hook = EMAHook(trainer.inner, decay=0.5)
    for number, (value, average) in enumerate([(1.0, 1.0), (2.0, 1.5), (4.0, 2.75)], start=1):
        set_weights(trainer.inner, value)
        step(hook, number)
        assert hook.model.weight.tolist() == [[average, average]]
    set_weights(trainer.inner, 100.0)  # a step that is not finished
    assert hook.model.bias.item() == 2.75


def test_it_is_torchs_average_of_parameters_and_buffers(trainer, step):
    torch.manual_seed(0)
    trainer.model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, dtype=torch.float64))
    hook = EMAHook(trainer.inner, decay=0.8)
    whole = AveragedModel(trainer.inner, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    for number in range(1, 6):
        trainer.model[1](torch.randn(5, 3))  # moves the running statistics
        set_weights(trainer.inner, number**0.5)
        step(hook, number)
        whole.update_parameters(trainer.inner)
    expected = whole.module.state_dict()
    assert expected["1.running_mean"].abs().max() > 0
    for name, value in hook.model.state_dict().items():
        assert value.dtype == expected[name].dtype
        torch.testing.assert_close(value, expected[name])


def test_a_restored_average_goes_on_instead_of_beginning_again(trainer, step):
    hook = EMAHook(trainer.inner, decay=0.5)
    set_weights(trainer.inner, 1.0)
    step(hook, 1)
    saved = {name: value.clone() for name, value in hook.state_dict().items()}
    again = EMAHook(nn.Linear(2, 1), decay=0.5)
    again.load_state_dict(saved)
    again.trainer = trainer
    set_weights(trainer.inner, 3.0)
    again.after_step()
    assert again.model.bias.item() == pytest.approx(2.0)
