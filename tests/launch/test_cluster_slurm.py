"""Submitting to SLURM: which jobs sbatch gets, in what order, and what is left when it refuses one."""

import pickle
import re
from dataclasses import replace

import pytest
from fake_cluster import FORGOTTEN, Report, Training, certification, work
from submitit.core.utils import DelayedSubmission

from dmaelab.launch.cluster import follow
from dmaelab.launch.cluster import slurm as module
from dmaelab.launch.cluster.records import JOBS, Submission
from dmaelab.launch.cluster.site import VARIABLE
from dmaelab.launch.cluster.slurm import Slurm
from dmaelab.launch.work import Task, Work
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import preempted_by_signals

REFUSED = "sbatch: error: Batch job submission failed: Invalid partition name specified"


@pytest.fixture(autouse=True)
def _site(tmp_path, monkeypatch):
    """Nothing of this machine matters: neither its site nor whether it sets threads, nor torchrun."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs/a"


@pytest.fixture
def scripts(slurm, tmp_path):
    """Let sbatch number its jobs from 101 on; return a function of the options of the n-th script."""
    accept(slurm)
    return lambda number: dict(
        re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", (slurm.folder / f"{number}.sh").read_text(), re.M)
    )


def accept(slurm, until=99, refusal=REFUSED, status=1):
    """Let sbatch accept so many jobs, and keep a copy of each script."""
    refuse = f"printf '%s\\n' '{refusal}' >&2; exit {status}"
    keep = f"cp \"$1\" '{slurm.folder}'/$n.sh; echo Submitted batch job $((100 + n))"
    slurm.does("sbatch", f"if [ $n -gt {until} ]; then {refuse}; fi; {keep}")


def entry(folder, job):
    """Return the pickled task of a job."""
    return DelayedSubmission.load(folder / JOBS / "logs" / f"{job}_submitted.pkl").function


def chain(folder):
    return work(
        folder,
        ("train", Training("slurm: {nodes: 2, gpus_per_node: 2}")),
        ("certify", certification(tasks_per_node=3), ("train",)),
        ("report", Report(""), ("train", "certify")),
    )


def test_each_task_waits_for_those_that_it_needs(scripts, folder, slurm):
    text = Slurm().launch(chain(folder))
    assert text.splitlines() == [
        "job 101: train",
        "job 102_[0-2]: certify, after train",
        "job 103: report, after train, certify",
        f"folder:   {folder}",
        f"follow:   python tools/pipeline.py --status {folder}",
        f"cancel:   python tools/pipeline.py --cancel {folder}",
        "continue: when the jobs have ended, give the same command again",
        "site:     configs/common/slurm.py ($DMAELAB_SLURM is not set)",
    ]
    assert [scripts(number).get("dependency") for number in (1, 2, 3)] == [None, "afterok:101", "afterok:101:102"]
    assert [scripts(number).get("array") for number in (1, 2, 3)] == [None, "0-2%3", None]
    assert slurm.calls("scancel") == []
    record = Submission.read(folder)
    assert [task.ids for task in record.tasks] == ["101", "102_[0-2]", "103"]
    assert record.jobs == str(folder / JOBS)
    assert [entry(folder, f"102_{number}").shard for number in range(3)] == [(0, 3), (1, 3), (2, 3)]
    assert record.tasks[1].parts[2].log == f"{folder}/jobs/logs/102_2_0_log.out"
    assert record.tasks[1].folder == str(folder / "certify")


def test_what_a_job_gets(scripts, folder):
    Slurm().launch(chain(folder))
    train, certify = entry(folder, "101"), entry(folder, "102_1")
    assert (train.name, train.kind, train.shard, train.together) == ("train", "training", None, True)
    assert (certify.name, certify.part, certify.shard, certify.together) == ("certify", 1, (1, 3), False)
    assert (certify.folder, certify.jobs) == (str(folder / "certify"), str(folder / JOBS))
    assert train.environment == (("OMP_NUM_THREADS", "8"),)
    run = pickle.loads(certify.work)
    (task,) = run.work.tasks
    assert (task.name, task.job.shard, task.job.progress, task.slurm, run.processes) == (
        "certify",
        (1, 3),
        False,
        {},
        None,
    )


def test_threads_that_the_user_has_set_stay(scripts, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    Slurm().launch(chain(folder))
    assert entry(folder, "101").environment == ()


@pytest.mark.parametrize(("time", "limit"), [(60, 1800), (3, 90)])
def test_a_signal_near_the_time_limit_is_known_as_such(scripts, folder, time, limit):
    Slurm().launch(work(folder, ("train", Training(f"slurm: {{time: {time}}}"))))
    assert entry(folder, "101").limit == limit


def test_processes_says_how_many_jobs_share_a_certification(scripts, folder):
    Slurm(processes=2).launch(chain(folder))
    assert scripts(2)["array"] == "0-1%2"
    assert scripts(1)["ntasks-per-node"] == "2"


def test_processes_do_not_matter_to_a_pipeline_whose_certifications_are_finished(scripts, folder):
    Slurm(processes=2).launch(work(folder, ("train", Training("")), ("report", Report(""), ("train",))))
    assert [task.ids for task in Submission.read(folder).tasks] == ["101", "102"]


def test_processes_of_a_training_are_refused(slurm, folder):
    with pytest.raises(UserError, match="--processes says how many jobs share a certification, and there is none: for"):
        Slurm(processes=2).launch(work(folder, ("train", Training(""))))
    assert not folder.parent.exists()


def test_a_certification_by_one_job_is_no_array(scripts, folder):
    Slurm(processes=1).launch(work(folder, ("certify", certification())))
    assert "array" not in scripts(1)
    assert Submission.read(folder).tasks[0].parts[0].id == "101"
    assert entry(folder, "101").shard == (0, 1)


def test_a_series_is_one_array_and_its_members_are_waited_for_alone(scripts, folder, slurm):
    tasks = [(name, Training(""), ("pretrain",), "rs") for name in ("rs", "rs_seed1")]
    other = ("rs_seed2", Training("slurm: {nodes: 2}"), ("pretrain",), "rs")
    certify = [(f"certify_{name}", Report(""), (name,), "certify") for name in ("rs", "rs_seed1")]
    Slurm().launch(
        work(
            folder,
            ("pretrain", Training("")),
            tasks[0],
            certify[0],
            tasks[1],
            certify[1],
            other,
            ("both", Report(""), ("rs", "rs_seed1")),
        )
    )
    assert len(slurm.calls("sbatch")) == 6
    ids = {task.name: [part.id for part in task.parts] for task in Submission.read(folder).tasks}
    assert ids == {
        "pretrain": ["101"],
        "rs": ["102_0"],
        "certify_rs": ["103"],
        "rs_seed1": ["102_1"],
        "certify_rs_seed1": ["104"],
        "rs_seed2": ["105"],
        "both": ["106"],
    }
    wanted = ["afterok:101", "afterok:102_0", "afterok:102_1", "afterok:101", "afterok:102"]
    assert [scripts(number)["dependency"] for number in range(2, 7)] == wanted
    assert scripts(2)["job-name"] == "rs"
    assert [entry(folder, job).name for job in ("102_0", "102_1")] == ["rs", "rs_seed1"]


def test_a_refused_job_cancels_the_earlier_ones_and_leaves_nothing(slurm, folder, tmp_path, capfd):
    accept(slurm, until=2)
    slurm.says("scancel")
    with pytest.raises(
        UserError, match=r"^SLURM refuses the job report: Invalid partition name specified \(sinfo shows what"
    ):
        Slurm().launch(chain(folder))
    assert slurm.calls("scancel") == ["101 102"]
    assert not (tmp_path / "runs").exists()
    assert capfd.readouterr() == ("", "")


def test_a_refused_first_job_cancels_nothing(slurm, folder):
    accept(slurm, until=0)
    with pytest.raises(UserError, match="SLURM refuses the job train"):
        Slurm().launch(chain(folder))
    assert slurm.calls("scancel") == []


def test_if_the_earlier_jobs_cannot_be_cancelled_both_reasons_are_told(slurm, folder):
    accept(slurm, until=1)
    slurm.says("scancel", error="scancel: error: no connection", status=1)
    with pytest.raises(UserError) as raised:
        Slurm().launch(chain(folder))
    assert str(raised.value) == (
        "SLURM refuses the job certify: Invalid partition name specified (sinfo shows what there is); and jobs 101 are"
        " not cancelled: scancel: error: no connection"
    )


def test_a_refusal_keeps_the_earlier_submission(slurm, folder):
    accept(slurm, until=1)
    Slurm().launch(work(folder, ("train", Training(""))))
    before = sorted(folder.rglob("*"))
    slurm.says("squeue", error=FORGOTTEN, status=1)
    slurm.says("sacct", "101|FAILED|1:0")
    with pytest.raises(UserError, match="SLURM refuses"):
        Slurm().launch(work(folder, ("train", Training(""))))
    assert sorted(folder.rglob("*")) == before
    assert Submission.read(folder).tasks[0].parts[0].id == "101"


def test_ctrl_c_while_sbatch_takes_a_job_cancels_it_and_leaves_nothing(slurm, folder):
    slurm.does("sbatch", "if [ $n = 2 ]; then kill -INT $PPID; sleep 0.2; fi; echo Submitted batch job $((100 + n))")
    slurm.says("scancel")
    with pytest.raises(KeyboardInterrupt), preempted_by_signals("stopped"):  # as in a command
        Slurm().launch(chain(folder))
    assert len(slurm.calls("sbatch")) == 2
    assert slurm.calls("scancel") == ["101 102"]
    assert not folder.parent.exists()


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_folder_is_not_submitted_twice(scripts, slurm, folder, state):
    Slurm().launch(chain(folder))
    slurm.queue(folder, *(f"{job}|{state}|None" for job in ("101", "102_0", "102_1", "102_2", "103")))
    with pytest.raises(UserError, match=f"job 101 of an earlier submission is {state}"):
        Slurm().launch(chain(folder))
    assert len(slurm.calls("sbatch")) == 3


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("sbatch: error: Batch job submission failed: A\nsbatch: error: Batch job submission failed: A", "A"),
        ("sbatch: error: cpu count\nsbatch: error: Batch job submission failed: nodes", "cpu count; nodes"),
        ("sbatch: unrecognized option '--x'", "unrecognized option '--x'"),
        ("nothing\nthat we know", "nothing that we know"),
    ],
)
def test_what_sbatch_says_is_one_line(said, words):
    assert module._one_line(said) == words


def test_what_slurm_may_not_check_is_told(scripts, folder):
    settings = "slurm: {account: lab, qos: high, partition: long}"
    text = Slurm().launch(work(folder, ("train", Training(settings))))
    assert text.endswith("\nnot checked: slurm.account and slurm.qos, which SLURM may accept unseen")


def test_waiting_prints_the_jobs_first(scripts, folder, monkeypatch, capsys):
    followed = []
    monkeypatch.setattr(follow, "follow", followed.append)
    one = work(folder, ("train", Training("")))
    assert Slurm(wait=True).launch(one) is None
    assert followed == [folder]
    assert capsys.readouterr().out.startswith("job 101: train\nfolder: ")


def test_without_slurm_nothing_begins(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^there is no SLURM on this machine \(no command sbatch\): use --launcher"):
        Slurm().launch(chain(folder))
    assert not folder.exists()


def test_the_submitted_script_is_the_one_of_the_preview(scripts, folder, slurm):
    one = work(folder, ("certify", certification(nodes=2, mem="4GB", extra={"comment": "it's"})))
    _, _, text = Slurm().preview(one).partition("\n")
    Slurm().launch(one)
    assert (slurm.folder / "1.sh").read_text() == text


def test_only_tasks_of_equal_needs_are_one_array(tmp_path):
    series = [
        ("a", Training(""), (), "s"),
        ("b", Training(""), ("a",), "s"),
        ("c", Training("slurm: {nodes: 2}"), (), "s"),
        ("d", Training(""), (), "t"),
        ("e", Training("slurm: {nodes: 1}"), (), "s"),
        ("f", Training("")),
    ]
    found = Slurm()._arrays(work(tmp_path, *series))
    assert [[task.name for task in tasks] for tasks in found] == [["a", "e"], ["b"], ["c"], ["d"], ["f"]]


class Refuses(Report):
    """A job that finds out before it is sent that it cannot be done."""

    def restartable(self, grace=0.0):
        raise UserError("there are no weights")


def test_all_jobs_are_checked_before_the_first_is_sent(scripts, slurm, folder):
    tasks = [("train", Training("")), ("evaluate", Refuses(""), ("train",))]
    with pytest.raises(UserError, match=r"^there are no weights$"):
        Slurm().launch(work(folder, *tasks))
    assert slurm.calls("sbatch") == slurm.calls("scancel") == []
    assert not folder.exists()


def test_an_answer_of_sbatch_without_a_number_is_one_line(slurm, folder):
    slurm.says("sbatch", "Submitted", "to nobody")
    with pytest.raises(UserError, match=r"^SLURM refuses the job train: .*Submitted.*$") as raised:
        Slurm().launch(work(folder, ("train", Training(""))))
    assert "\n" not in str(raised.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ("", {"ACCOUNT", "PARTITION", "QOS", "CONSTRAINT", "EXCLUDE", "RESERVATION"}),
        ("slurm: {partition: long, qos: high}", {"ACCOUNT", "CONSTRAINT", "EXCLUDE", "RESERVATION"}),
        ("slurm: {extra: {reservation: x}}", {"ACCOUNT", "PARTITION", "QOS", "CONSTRAINT", "EXCLUDE"}),
    ],
)
def test_defaults_of_the_user_stay_where_the_section_says_nothing(slurm, folder, monkeypatch, settings, kept):
    for name in ("ACCOUNT", "PARTITION", "QOS", "CONSTRAINT", "EXCLUDE", "RESERVATION", "TIMELIMIT", "WAIT"):
        monkeypatch.setenv(f"SBATCH_{name}", "mine")
    slurm.does("sbatch", f"env > '{slurm.folder}/env'; echo Submitted batch job 101")
    Slurm().launch(work(folder, ("train", Training(settings))))
    assert set(re.findall("^SBATCH_(.+)=mine$", (slurm.folder / "env").read_text(), re.M)) == kept


def test_ready_checks_and_begins_nothing(slurm, folder, monkeypatch):
    Slurm().ready(folder)
    with pytest.raises(UserError, match="cannot hold logs of SLURM"):
        Slurm().ready(folder / "a%b")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="--launcher cannot be combined with torchrun"):
        Slurm().ready(folder)
    monkeypatch.delenv("RANK")
    for name in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS"):
        monkeypatch.setenv(name, "other")
        with pytest.raises(UserError, match=rf"^\${name} may choose another cluster, and jobs go to the one of this"):
            Slurm().ready(folder)
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UserError, match="there is no SLURM on this machine"):
        Slurm().ready(folder)
    assert not folder.exists()


class Needs(Training):
    """A training whose config names a device."""

    def section(self, name):
        return {"device": self.config} if name == "train" else {}


@pytest.mark.parametrize(
    ("device", "settings", "expected"),
    [
        ("auto", {}, 1),
        ("auto", {"gpus_per_node": 4}, 4),
        ("cuda", {"gpus_per_node": 4}, 4),
        ("cpu", {"gpus_per_node": 4}, 0),
        ("auto", {"gpus_per_node": 0}, 0),
        ("cuda", {"gpus_per_node": 0, "extra": {"gres": "gpu:a100:2"}}, 0),
    ],
)
def test_a_job_knows_whether_it_must_find_a_gpu(scripts, folder, device, settings, expected):
    one = Task("train", Needs(device), folder, slurm=settings)
    Slurm().launch(Work(folder, (one,)))
    assert pickle.loads(entry(folder, "101").work).gpus == expected


@pytest.mark.parametrize(("finished", "ids"), [(False, "101_[0-2]"), (True, "101")])
def test_a_finished_certification_is_looked_at_by_one_job(scripts, folder, finished, ids):
    job = certification(tasks_per_node=3)
    task = Task("certify", job, folder / "log", slurm=job.section("slurm"), finished=finished)
    assert Slurm().launch(Work(folder, (task,))).splitlines()[0] == f"job {ids}: certify"


@pytest.mark.parametrize("said", ["Unable to contact slurm controller", "Socket timed out on send/recv operation"])
def test_a_controller_that_does_not_answer_may_have_taken_the_job(slurm, folder, said):
    accept(slurm, until=1, refusal=f"sbatch: error: Batch job submission failed: {said}")
    slurm.says("scancel")
    with pytest.raises(UserError, match=rf"^SLURM does not answer \({said}\): look with squeue whether it .* certify$"):
        Slurm().launch(chain(folder))


def test_earlier_results_are_deleted_when_all_jobs_are_accepted(scripts, slurm, folder):
    def accepted():
        assert len(slurm.calls("sbatch")) == 3
        calls.append(True)

    calls = []
    Slurm().launch(replace(chain(folder), accepted=accepted))
    assert calls == [True]


def test_what_submitit_leaves_beside_its_scripts_is_removed(scripts, folder):
    Slurm().launch(chain(folder))
    assert sorted(path.name for path in (folder / JOBS / "logs").iterdir() if path.name.startswith(".")) == []
    assert (folder / JOBS / "logs/101_submission.sh").is_file()
