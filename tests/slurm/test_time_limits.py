"""A training that needs longer than SLURM lets it run. It takes longest, so its result is looked at last."""

import works


def test_a_training_that_needs_longer_than_its_time_limit(submitted, tmp_path):
    (status,) = works.wait(submitted / "limited")
    assert status.succeeded, works.show(submitted / "limited")
    assert works.starts(submitted / "limited") >= 2
    assert works.same_weights(submitted / "limited", works.undisturbed(tmp_path, steps=works.LONG))
