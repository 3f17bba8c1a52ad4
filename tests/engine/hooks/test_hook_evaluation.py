import pytest

from dmaelab.engine.hooks import EvalHook


@pytest.mark.parametrize(("period", "expected"), [(0, [10]), (4, [4, 8, 10]), (5, [5, 10]), (20, [10])])
def test_it_evaluates_every_period_and_after_the_last_step(step, trainer, period, expected):
    when = []
    hook = EvalHook(lambda: when.append(trainer.step) or {"accuracy": 0.5}, period)
    for number in range(1, 11):
        step(hook, number)
        assert hook.latest == ({"accuracy": 0.5} if number in expected else {})
    assert when == expected


def test_its_numbers_go_to_the_next_record_beside_those_of_others(step, trainer):
    trainer.pending["counted"] = 7
    step(EvalHook(lambda: {"accuracy": 0.5, "loss": 2.0}, 1), 1)
    assert trainer.pending == {"counted": 7, "eval_accuracy": 0.5, "eval_loss": 2.0}
