import pytest

from dmaelab.engine.hooks import ThroughputHook, throughput


@pytest.fixture
def run(trainer, monkeypatch):
    """Return a function that runs steps of given seconds, some of them waiting for data, under a clock of its own."""
    now = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])

    def steps(hook, *numbers, seconds, waiting):
        for trainer.step in numbers:
            now[0] += 1000.0  # evaluation and saving between the steps
            hook.before_step()
            now[0] += seconds
            trainer.data_seconds = waiting
            hook.after_step()
        report, trainer.pending = trainer.pending, {}
        return report

    return steps


@pytest.fixture
def hook(trainer):
    hook = ThroughputHook(batch_size=8, period=4)
    trainer.register_hooks([hook])
    return hook


def test_speed_is_that_of_the_steps_since_the_last_record_without_the_first_one(run, hook):
    assert run(hook, 1, seconds=50.0, waiting=40.0) == {}
    assert run(hook, 2, 3, seconds=2.0, waiting=1.0) == {}
    report = run(hook, 4, seconds=2.0, waiting=0.0)
    assert report == {"images_per_second": pytest.approx(4.0), "data_wait": pytest.approx(1 / 3)}
    report = run(hook, 5, 6, 7, 8, seconds=1.0, waiting=0.5)
    assert report == {"images_per_second": pytest.approx(8.0), "data_wait": pytest.approx(0.5)}


def test_the_last_step_reports_too(run, hook):
    run(hook, *range(1, 9), seconds=2.0, waiting=1.0)
    assert run(hook, 9, 10, seconds=4.0, waiting=1.0)["images_per_second"] == pytest.approx(2.0)


def test_nothing_was_measured_where_the_first_step_ends_a_period(run, hook):
    assert run(hook, 4, seconds=2.0, waiting=1.0) == {}
