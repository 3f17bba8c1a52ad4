"""Progress, from files that may be missing, half written or damaged."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from dmaelab.launch.cluster.progress import (
    images_done,
    images_wanted,
    is_finished,
    seconds_left,
    steps_saved,
    training_progress,
)

BEGAN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def start(run, steps=100, from_step=20):
    (run / "run.json").write_text(
        json.dumps({"starts": [{}, {"steps": steps, "from_step": from_step, "time": BEGAN.isoformat()}]})
    )


def metrics(run, *lines, rest="", minutes=6):
    """Write the records of a training, the last one so many minutes after its start."""
    path = run / "metrics.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines) + rest)
    when = (BEGAN + timedelta(minutes=minutes)).timestamp()
    os.utime(path, (when, when))


def test_the_time_to_go_assumes_the_speed_since_the_last_start(tmp_path):
    start(tmp_path)
    metrics(tmp_path, '{"step": 30, "loss": 2.0}', '{"step": 40, "loss": 1.5}')
    assert training_progress(tmp_path) == (40, 100, 18 * 60.0, {"step": 40, "loss": 1.5})


def test_nothing_is_known_before_a_training_has_begun(tmp_path):
    assert training_progress(tmp_path) == (0, None, None, {})
    start(tmp_path)
    assert training_progress(tmp_path) == (0, 100, None, {})


@pytest.mark.parametrize(("text", "minutes"), [('{"step": 20, "loss": 1}', 6), ('{"step": 40, "loss": 1}', -6)])
def test_without_a_new_record_there_is_no_time_to_go(tmp_path, text, minutes):
    start(tmp_path)
    metrics(tmp_path, text, minutes=minutes)
    assert training_progress(tmp_path)[2] is None


@pytest.mark.parametrize("rest", ['{"step": 50, "lo', "", "\0" * 100])
def test_the_line_that_is_being_written_does_not_count(tmp_path, rest):
    start(tmp_path)
    metrics(tmp_path, '{"step": 40}', rest=rest)
    assert training_progress(tmp_path)[::3] == (40, {"step": 40})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "\xff", "[" * 10**5, '{"step": "x"}'])
def test_nonsense_in_the_records_is_no_progress(tmp_path, text):
    start(tmp_path)
    metrics(tmp_path, text)
    assert training_progress(tmp_path)[::3] == (0, {})


@pytest.mark.parametrize("text", ['{"step": 4, "loss": null, "best": "a", "psnr": 2.5}'])
def test_only_numbers_are_values(tmp_path, text):
    metrics(tmp_path, text)
    assert training_progress(tmp_path)[3] == {"step": 4, "psnr": 2.5}


def test_a_long_file_is_read_from_its_end(tmp_path):
    start(tmp_path)
    metrics(tmp_path, *(json.dumps({"step": step, "loss": 1.0}) for step in range(10**4)))
    assert training_progress(tmp_path)[0] == 9999


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", "3", "{}", '{"starts": []}', '{"starts": 3}', '{"starts": [3]}', '{"starts": [{"steps": 9}]}'],
        '{"starts": [{"steps": 9, "from_step": 0, "time": "soon"}]}',
        '{"starts": [{"steps": "many", "from_step": 0, "time": "2026-01-02"}]}',
        '{"starts": [{"steps": 9, "from_step": 0, "time": 3}]}',
    ],
)
def test_nonsense_about_the_start_is_no_length(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    metrics(tmp_path, '{"step": 40}')
    assert training_progress(tmp_path) == (40, None, None, {"step": 40})


def test_the_newest_checkpoint_counts(tmp_path):
    assert steps_saved(tmp_path) == 0
    (tmp_path / "checkpoints").mkdir()
    for name in ("step_0000090.pth", "step_0000100.pth", "step_last.pth", "step_0000200.pth.tmp", "best.pth"):
        (tmp_path / "checkpoints" / name).touch()
    assert steps_saved(tmp_path) == 100
    start(tmp_path)
    metrics(tmp_path, '{"step": 40}')
    assert training_progress(tmp_path)[0] == 100


def test_images_are_the_complete_rows_of_the_shards(tmp_path):
    assert images_done(tmp_path) == images_done(tmp_path, (0, 2)) == 0
    (tmp_path / "shard-000-of-002.tsv").write_text("idx\tlabel\n0\t1\n2\t1\n4\t")
    (tmp_path / "shard-001-of-002.tsv").write_text("idx\tla")
    assert [images_done(tmp_path, (part, 2)) for part in (0, 1)] == [2, 0]
    (tmp_path / "shard-001-of-002.tsv").write_text("idx\tlabel\n1\t0\n")
    assert images_done(tmp_path) == 3


def header(log, count):
    (log / "header.json").write_text(json.dumps({"identity": {"subset": {"count": count}}}))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", "{}", '{"identity": {"subset": 3}}', "[" * 10**5])
def test_without_a_header_the_number_of_images_is_unknown(tmp_path, text):
    if text is not None:
        (tmp_path / "header.json").write_text(text)
    assert images_wanted(tmp_path) is None
    assert not is_finished("certification", tmp_path)


def test_what_is_finished(tmp_path):
    header(tmp_path, 2)
    assert images_wanted(tmp_path) == 2
    (tmp_path / "shard-000-of-001.tsv").write_text("idx\n0\n")
    assert not is_finished("certification", tmp_path)
    (tmp_path / "shard-000-of-001.tsv").write_text("idx\n0\n1\n")
    assert is_finished("certification", tmp_path)
    assert not is_finished("training", tmp_path)
    (tmp_path / "model_final.pth").touch()
    assert is_finished("training", tmp_path)
    assert not is_finished("report", tmp_path)


def test_the_time_to_go_of_a_certification():
    began = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    assert seconds_left(5, 15, began) == pytest.approx(1800, abs=60)
    assert seconds_left(0, 15, began) is None
    assert seconds_left(5, 15, (datetime.now(UTC) + timedelta(minutes=10)).isoformat()) is None
