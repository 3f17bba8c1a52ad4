"""Everything that a cluster does to a job: it continues by itself, or says why not, and the bits stay the same."""

import json

import pytest
import works

from dmaelab.engine import open_certification
from dmaelab.launch.cluster.cancel import cancel
from dmaelab.utils.errors import UserError


@pytest.fixture(scope="module")
def undisturbed(submitted):
    """Return the run directory of the training that nobody interrupts."""
    return works.undisturbed(submitted / "undisturbed")


def test_a_killed_process_fails_its_job(failed):
    (status,), text = failed["killed"]
    assert not status.succeeded
    assert status.complaint.startswith("killed by SIGKILL, perhaps because the memory was full (process 0 on 0x7f0000")
    assert status.complaint in text


def test_a_failing_stage_cancels_the_later_ones(failed, submitted):
    statuses, text = failed["broken"]
    found = {status.task.name: status for status in statuses}
    assert found["pretrain"].succeeded, text
    assert "later.pth" in found["continue"].complaint
    assert str(submitted / "broken/jobs") in found["continue"].complaint
    assert found["rs"].complaint == "cancelled, because continue did not succeed"
    assert found["certify_rs"].complaint == "cancelled, because rs did not succeed"
    assert found["report"].complaint == "cancelled, because continue did not succeed"


@pytest.mark.parametrize("name", ["signalled", "terminated", "requeued", "preempted"])
def test_a_training_resumes_by_itself(submitted, undisturbed, name):
    """SIGUSR2, SIGTERM to a job that is not ended yet, `scontrol requeue`, and a job of a higher partition."""
    (status,) = works.wait(submitted / name)
    assert status.succeeded, works.show(submitted / name)
    assert works.starts(submitted / name) == 2, works.show(submitted / name)
    assert works.same_weights(submitted / name, undisturbed)


def test_a_certification_resumes_by_itself(submitted, classifier_run):
    folder = classifier_run / "certify/signalled"
    certify, table = works.wait(folder)
    assert certify.succeeded, works.show(folder)
    assert table.succeeded, works.show(folder)
    assert works.starts(folder) == 2
    overrides = ["certify.name=calm", "certifier.n=20000", 'certify.subset={"count": 30}']
    open_certification(classifier_run, [*works.QUICK, *overrides]).run(progress=False)
    assert works.rows(folder) == works.rows(classifier_run / "certify/calm")


def test_a_killed_process_of_a_group_is_named_and_ends_the_others(submitted):
    folder = submitted / "one_killed"
    (status,) = works.wait(folder)
    assert "killed by SIGKILL, perhaps because the memory was full (process 1 on 0x7f0000" in status.complaint
    assert status.complaint.endswith("_1_log.out)")
    assert not works.alive(folder, 0)


def test_a_job_of_which_one_process_fails_at_once_ends(submitted):
    """Before the processes have found each other. SLURM tells the first one to stop, and calls the job RUNNING."""
    folder = submitted / "one_broken"
    (status,) = works.wait(folder)
    assert status.state == "FAILED"
    assert "this node is broken (process 1 on 0x7f0000" in status.complaint
    assert works.starts(folder) == 1


def test_a_training_resumes_on_another_node_when_its_own_has_failed(submitted, tmp_path):
    for name in ("preempted", "together", "one_killed", "one_broken"):  # the other jobs on the second node
        works.wait(submitted / name)
    folder = works.train(tmp_path / "run", "slurm.exclude='0x7f000001'", steps=60)
    works.until(lambda: works.in_its_steps(folder))
    works.run("scontrol", "update", "NodeName=0x7f000002", "State=DOWN", "Reason=a test")
    works.run("scontrol", "update", f"JobId={works.job_id(folder)}", "ExcNodeList=0x7f000002")
    (status,) = works.wait(folder)  # meanwhile the node comes back by itself
    assert status.succeeded, works.show(folder)
    assert works.starts(folder) == 2
    assert works.same_weights(folder, works.undisturbed(tmp_path / "undisturbed", steps=60))


def test_a_killed_training_continues_when_the_command_is_given_again(failed, submitted, undisturbed):
    folder = submitted / "killed"
    (status,) = works.wait(folder)
    assert status.succeeded, works.show(folder)
    first, second = json.loads((folder / "run.json").read_text())["starts"]
    assert first["from_step"] == 0 < second["from_step"]
    assert works.same_weights(folder, undisturbed)


def test_a_failed_pipeline_continues_when_the_command_is_given_again(failed, submitted):
    folder = submitted / "broken"
    again = {status.task.name: status for status in works.wait(folder)}
    assert list(again) == ["continue", "rs", "certify_rs", "report"]  # pretrain was finished
    assert all(status.succeeded for status in again.values()), works.show(folder)


def test_cancelled_jobs_save_their_state(submitted):
    folder = submitted / "cancelled"
    works.until(lambda: works.in_its_steps(folder))
    with pytest.raises(UserError, match=rf"job {works.job_id(folder)} of an earlier submission is RUNNING"):
        works.train(folder)
    assert f"told job {works.job_id(folder)} to stop" in cancel(folder)
    (status,) = works.wait(folder)
    assert status.state == "CANCELLED"
    assert list((folder / "checkpoints").glob("step_*.pth"))
    assert cancel(folder) == f"{folder}: no job waits or runs"
