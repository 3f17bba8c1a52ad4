import logging

from dmaelab.smoothing import progress
from dmaelab.smoothing.progress import Progress

ROW = {"correct": 1, "radius": 0.5, "samples": 100}


def test_accuracy_with_its_interval_and_mean_radius():
    with Progress(20, [ROW] * 6 + [{**ROW, "correct": 0}], hide=True) as bar:
        for _ in range(3):
            bar.add({**ROW, "correct": 0})
        assert bar.text().startswith("certified 60.0% [26.2%, 87.8%], mean radius 0.300, ")


def test_without_a_terminal_it_speaks_once_a_period(monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("dmaelab"), "propagate", True)
    monkeypatch.setattr(progress, "_PERIOD", 0.0)
    caplog.set_level(logging.INFO, logger="dmaelab")
    with Progress(4, [ROW]) as bar:
        bar.add(ROW)
    assert "2 of 4 images, about 0:00:00 left: certified 100.0%" in caplog.text
    caplog.clear()
    with Progress(4, [], hide=True) as bar:
        bar.add(ROW)
    assert not caplog.text
