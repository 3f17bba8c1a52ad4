"""Tests of `python -m benchmarks.launch`: its figures, what shows that work has begun, and the run that takes turns."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import launch, trainer_hooks, two_processes
from benchmarks.trainer_hooks import HOOKS, NONE, PLAIN, WAYS
from dmaelab.engine.resolve import resolve
from dmaelab.engine.settings import TrainSettings
from dmaelab.utils.errors import UserError


def test_a_launcher_is_compared_with_the_first_one_in_each_round():
    seconds = [(5.0, 9.0), (7.0, 10.0), (6.0, 11.0)]
    rounds = [{"none": {"begins": a}, "local": {"begins": b, "returns": 4.0}} for a, b in seconds]
    assert launch.summary(rounds) == {
        "none": {"begins": 6.0, "more": 0.0},
        "local": {"begins": 10.0, "returns": 4.0, "more": 4.0},
    }


def test_work_has_begun_with_the_first_line_of_results(tmp_path):
    training = launch.training(tmp_path / "run")
    certification = launch.certification(tmp_path / "run", "fast")
    assert not training.begun()
    assert not certification.begun()
    certification.folder.mkdir(parents=True)
    shard = certification.folder / "shard-0-of-1.tsv"
    (tmp_path / "run/metrics.jsonl").write_text('{"step": 1}\n')
    shard.write_text("idx\tlabel\n")
    assert training.begun()
    assert not certification.begun()
    shard.write_text("idx\tlabel\n0\t3\n")
    assert certification.begun()


def test_a_command_that_fails_is_reported_with_what_it_says(tmp_path):
    work = launch.Work(["-c", "raise SystemExit('no such thing')"], tmp_path, lambda: False)
    with pytest.raises(UserError, match="the work of none does not begin: no such thing"):
        launch.turn(work, "none", {})


def test_slurm_is_left_out_with_a_reason(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_CONF", raising=False)
    assert launch.no_slurm() == "SLURM_CONF names no SLURM"
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launch.no_slurm() == "sinfo does not answer (FileNotFoundError)"
    answer = subprocess.CompletedProcess(["sinfo"], 1, "", "no\nconnection\n")
    monkeypatch.setattr(launch.subprocess, "run", lambda *args, **kwargs: answer)
    assert launch.no_slurm() == "sinfo does not answer: no connection"


def test_the_first_stretch_warms_up():
    times = {HOOKS: [9.0, 9.0, 3.0, 5.0, 6.0, 6.0], NONE: [9.0, 9.0, 1.0, 2.0, 2.0, 2.0]}
    assert trainer_hooks.stretches(times, 2) == {HOOKS: [4.0, 6.0], NONE: [1.5, 2.0]}


def test_a_record_counts_once_in_a_period():
    calls = [(False, {"A": 1e-6}), (True, {"A": 101e-6}), (False, {"A": 3e-6}), (False, {"A": 1e-6})]
    assert trainer_hooks.hook_costs(calls) == {"A": {"ordinary": 1.0, "record": 101.0, "per step": 3.0}}


def test_shares_are_those_of_a_step_of_the_plain_loop():
    row = {"other hooks, us": 100.0, "stop flag, us": 50.0, "stop flag with waiting, us": 300.0}
    record = trainer_hooks.shares({"digits": row, "ViT-B": {**row, "ms a step": {PLAIN: 10.0}}})
    assert record["digits"][trainer_hooks.SHARE] == 1.5
    assert record["digits"][f"{trainer_hooks.SHARE}, with waiting"] == 4.0


@pytest.mark.parametrize("subject", ["digits", "ViT-B"])
def test_a_run_has_the_stretches_of_all_rounds(subject, tmp_path):
    settings = trainer_hooks.config(subject, str(tmp_path), 2, 3)
    images = settings.data.train.get("count", 0)
    steps, milestones = TrainSettings.of(settings).steps(images)
    assert steps == 4 * len(WAYS) * settings.train.log_period
    assert not milestones


def test_a_run_takes_turns_and_times_every_hook(tmp_path, monkeypatch):
    monkeypatch.setitem(trainer_hooks.STRETCH, "digits", 2)
    trainer = trainer_hooks.Alternating(
        resolve(trainer_hooks.config("digits", str(tmp_path), 1, 1), torch.device("cpu"))
    )
    trainer.train()
    assert {way: len(times) for way, times in trainer.times.items()} == dict.fromkeys(WAYS, 4)
    assert [wrote for wrote, _ in trainer.calls] == [False, True] * 2
    written = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert written == [2, 8]
    assert not list(tmp_path.glob("**/*.pth"))
    record = trainer_hooks.record_of(trainer, trainer_hooks.flag_cost(1))
    assert list(record["each hook, us"]) == [hook.name for hook in trainer.hooks]
    assert record["other hooks, us"] > 0
    assert record["ms a step"].keys() == set(WAYS)


def test_two_processes_have_finished_when_the_slower_one_has():
    images = two_processes.IMAGES
    assert two_processes.rates([images / 2, images / 4], [images / 5, images / 3]) == {
        "one": 3.0,
        "two": 6.0,
        "ratio": 2.0,
    }


def test_a_part_is_chosen_and_its_figures_are_written(tmp_path, monkeypatch):
    parts = {name: lambda rounds, name=name: {name: rounds} for name in launch.PARTS}
    monkeypatch.setattr(launch, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["launch", "--only", "step", "--output", str(tmp_path / "out.json")])
    launch.main()
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["record"] == {"step": {"step": 3}}
    assert found["environment"]
