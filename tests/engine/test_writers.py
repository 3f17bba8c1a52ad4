import json
import shutil
import sys
import time

import pytest
import torch

from dmaelab.engine import writers
from dmaelab.engine.writers import ConsoleWriter, JSONWriter, TensorBoardWriter, clock
from dmaelab.utils.errors import UserError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (5.9, "0:05"), (83, "1:23"), (3599, "59:59"), (3600, "1:00:00"), (36125, "10:02:05")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_the_console_tells_what_is_left_at_the_pace_of_this_process(monkeypatch, log_messages):
    now = [100.0]
    monkeypatch.setattr(writers.time, "perf_counter", lambda: now[0])
    writer = ConsoleWriter(max_iter=400)
    writer.open(100)  # a resumed run: the first 100 steps took it no time
    now[0] += 20.0
    writer.write(110, {"loss": 0.123456, "lr": 1e-5, "images_per_second": 12345.6})
    writer.write(400, {})
    assert log_messages[0] == "step 110/400  eta 9:40  loss 0.1235  lr 1e-05  images_per_second 12,346"
    assert log_messages[1].startswith("step 400/400  eta 0:00")


def test_the_console_may_get_a_record_before_any_step(monkeypatch, log_messages):
    writer = ConsoleWriter(max_iter=4)
    writer.open(4)
    writer.write(4, {"eval_loss": 1.0})
    assert log_messages == ["step 4/4  eta 0:00  eval_loss 1"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run" / "metrics.jsonl"


def records(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_records_are_lines_of_json(file):
    writer = JSONWriter(file)
    writer.open(0)
    writer.write(4, {"loss": 0.5})
    writer.write(8, {"loss": 0.1234567890123, "lr": 1e-5})
    writer.close()
    assert records(file) == [{"step": 4, "loss": 0.5}, {"step": 8, "loss": 0.1234567890123, "lr": 1e-5}]


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (4, [4]), (7, [4]), (8, [4, 8, 8]), (9, [4, 8, 8]), (99, [4, 8, 8, 12])]
)
def test_records_after_the_step_are_of_a_killed_attempt(file, step, kept):
    writer = JSONWriter(file)
    writer.open(0)
    for number in (4, 8, 8, 12):
        writer.write(number, {"loss": 0.5})
    writer.close()
    writer.open(step)
    writer.close()
    assert [record["step"] for record in records(file)] == kept


def test_half_a_record_is_removed_so_that_the_next_one_has_a_line_of_its_own(file):
    writer = JSONWriter(file)
    writer.open(0)
    writer.write(4, {"loss": 0.5})
    writer.close()
    with open(file, "a") as stream:
        stream.write('{"step": 8, "lo')
    writer.open(8)
    writer.write(8, {"loss": 0.25})
    writer.close()
    assert records(file) == [{"step": 4, "loss": 0.5}, {"step": 8, "loss": 0.25}]


def test_opening_makes_no_file(file):
    writer = JSONWriter(file)
    writer.open(0)
    writer.close()
    writer.close()
    assert not file.exists()


def test_a_record_never_goes_to_a_folder_that_has_taken_the_place_of_the_first(file, tmp_path):
    writer = JSONWriter(file)
    writer.open(0)
    writer.write(4, {"loss": 0.5})
    file.parent.rename(tmp_path / "gone")
    writer.write(8, {"loss": 0.25})
    file.parent.mkdir()
    writer.write(12, {"loss": 0.125})
    assert [record["step"] for record in records(tmp_path / "gone" / file.name)] == [4, 8, 12]
    assert list(file.parent.iterdir()) == []
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        writer.write(16, {"loss": 0.0625})
    assert list(tmp_path.iterdir()) == [file.parent]
    writer.close()


def test_scalars_of_a_killed_attempt_are_replaced(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, value in ((0, 1.0), (4, 2.0)):
        time.sleep(1.1 * (first > 0))  # the names of event files, by which they are ordered, begin with the second
        writer = TensorBoardWriter(tmp_path)
        writer.open(first)
        for step in (first + 4, first + 8):
            writer.write(step, {"loss": value})
        writer.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert {event.step: event.value for event in events} == {4: 1.0, 8: 2.0, 12: 2.0}


def test_tensorboard_may_be_closed_without_being_opened(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    TensorBoardWriter(tmp_path / "tb").close()
    assert not (tmp_path / "tb").exists()


def test_without_tensorboard_the_error_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    with pytest.raises(UserError, match="pip install tensorboard"):
        TensorBoardWriter(tmp_path)
