"""The records of a submission: what is written is read again, and what is damaged is told in one line."""

import json
import os
import pickle

import pytest
from fake_cluster import state, submission, task

from dmaelab.launch.cluster.records import (
    JOBS,
    Part,
    Submission,
    again,
    array_of,
    node_name,
    now,
    read_state,
    submitted,
)
from dmaelab.utils.errors import UserError


def edited(folder, change):
    """Change the record of a submission of two jobs, and return its path."""
    submission(folder, task(folder, "train", "12", after=()), task(folder, "certify", "13_0", after=("train",)))
    path = folder / JOBS / "submission.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_a_submission_is_read_as_it_was_written(tmp_path):
    certify = task(tmp_path, "certify", "13_0", kind="certification", after=("train",))
    part = Part("13_0", "log")
    written = submission(
        tmp_path,
        task(tmp_path, "train", "12"),
        type(certify)(certify.name, certify.kind, certify.folder, certify.after, (part,)),
        sources={"a.py": "123"},
        code="1.0+abc",
    )
    assert Submission.read(tmp_path) == written
    assert hash(Submission.read(tmp_path).tasks) == hash(written.tasks)  # all tuples


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match=rf"^there is no folder {tmp_path}/none$"):
        Submission.read(tmp_path / "none")


def test_the_jobs_of_a_folder_below_are_named(tmp_path):
    submission(tmp_path / "b/c", task(tmp_path, "train", "12"))
    submission(tmp_path / "b/d", task(tmp_path, "train", "12"))
    with pytest.raises(UserError, match=rf": give {tmp_path}/b/c, which has some$"):
        Submission.read(tmp_path / "b")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train_net.py", "a=1"], "give the same command again, with --resume"),
        (["/x/tools/train_net.py"], "give the same command again, with --resume"),
        (["train_net.py", "--resume"], "give the same command again"),
        (["train_net.py", "--eval-only"], "give the same command again"),
        (["certify.py", "runs/a"], "give the same command again"),
    ],
)
def test_how_to_continue(command, words):
    assert again(command) == words


def test_a_folder_without_jobs(tmp_path):
    assert not submitted(tmp_path)
    (tmp_path / JOBS).mkdir()
    with pytest.raises(UserError, match=r"no jobs were submitted here \(there is no jobs/submission.json\): give the"):
        Submission.read(tmp_path)
    submission(tmp_path, task(tmp_path, "train", "12"))
    assert submitted(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", '{"tasks": []', "[]", "3", "null", '{"tasks": []}', "\udcff", "[" * 10**5, '{"tasks": [3]}']
)
def test_a_damaged_record_is_one_line(tmp_path, text):
    (tmp_path / JOBS).mkdir()
    path = tmp_path / JOBS / "submission.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"^{path} cannot be read: .+$"):
        Submission.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("tasks"),
        lambda content: content.pop("jobs"),
        lambda content: content.update(of_a_later_version=1),
        lambda content: content.update(tasks={"train": {}}),
        lambda content: content["tasks"][0].pop("parts"),
        lambda content: content["tasks"][0].update(parts=[]),
        lambda content: content["tasks"][0].update(of_a_later_version=1),
        lambda content: content["tasks"][0].update(after=None),
        lambda content: content["tasks"][0]["parts"][0].pop("log"),
        lambda content: content["tasks"][0]["parts"][0].update(log2="a"),
        lambda content: content["tasks"][0].update(parts=[["12", "log"]]),
        lambda content: content["tasks"][0]["parts"][0].update(id=12),
        lambda content: content["tasks"][0]["parts"][0].update(id="--user=me"),
        lambda content: content["tasks"][0]["parts"][0].update(id="-12"),
        lambda content: content.update(launcher="local"),  # where 13_0 is no number of a process
    ],
)
def test_what_is_missing_or_of_another_kind_is_one_line(tmp_path, change):
    path = edited(tmp_path, change)
    with pytest.raises(UserError, match=f"^{path} cannot be read: .+$"):
        Submission.read(tmp_path)


def test_a_record_executes_nothing(tmp_path):
    (tmp_path / JOBS / "state").mkdir(parents=True)
    evil = pickle.dumps(os.getpid).replace(b"getpid", b"abort_")
    for path in (tmp_path / JOBS / "submission.json", tmp_path / JOBS / "state/train.0.0.json"):
        path.write_bytes(evil)
    with pytest.raises(UserError, match="cannot be read"):
        Submission.read(tmp_path)
    assert read_state(tmp_path / JOBS / "state/train.0.0.json") is None


def test_a_state_is_read_as_it_was_written(tmp_path):
    said = state(tmp_path, "12", "failed", part=3, rank=1, ended=now(), status=-9, line="killed «so»")
    assert read_state(tmp_path / JOBS / "state/train.3.1.json") == said


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"job": "12"}', '{"later": 1}', "[" * 10**5])
def test_a_state_that_cannot_be_read_is_none(tmp_path, text):
    path = tmp_path / "train.0.0.json"
    if text is not None:
        path.write_text(text)
    assert read_state(path) is None


@pytest.mark.parametrize("name", ["pid", "progress", "rank"])
@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None])
def test_numbers_of_a_state_that_are_none_are_refused(tmp_path, name, value):
    state(tmp_path, "12", "running")
    path = tmp_path / JOBS / "state/train.0.0.json"
    assert read_state(path) is not None
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert read_state(path) is None


@pytest.mark.parametrize(("ids", "text"), [(["12"], "12"), (["12_0", "12_1"], "12_[0-1]"), (["12_3"], "12_3")])
def test_the_ids_of_a_task_as_text(tmp_path, ids, text):
    assert task(tmp_path, "train", *ids).ids == text


@pytest.mark.parametrize("job", ["12", "12_0", "12_34"])
def test_the_array_of_a_job(job):
    assert array_of(job) == "12"


def test_the_name_of_the_node_is_that_of_the_scheduler(monkeypatch):
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    assert node_name() == os.uname().nodename
    monkeypatch.setenv("SLURMD_NODENAME", "gpu07")
    assert node_name() == "gpu07"
