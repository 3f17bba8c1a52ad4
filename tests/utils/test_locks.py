"""Locks: held, free, waited for, and file systems without any."""

import errno
import fcntl
import os
import threading
import time

import pytest

from dmaelab.utils import locks
from dmaelab.utils.locks import be_patient, lock


@pytest.fixture(autouse=True)
def _impatient_again(monkeypatch):
    monkeypatch.setattr(locks, "_patience", 0.0)


def test_a_held_lock_is_refused_at_once(tmp_path):
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert lock(first, fcntl.flock)
        begin = time.monotonic()
        with pytest.raises(BlockingIOError, match="lock is locked"):
            lock(second, fcntl.flock)
        assert time.monotonic() - begin < 0.5


def test_a_patient_process_waits_for_it(tmp_path, log_messages):
    be_patient(30)
    first = (tmp_path / "lock").open("w")
    assert lock(first, fcntl.flock)
    threading.Timer(0.3, first.close).start()
    with (tmp_path / "lock").open("w") as second:
        assert lock(second, fcntl.flock)
    assert len(log_messages) == 1
    assert "is locked by another process, perhaps by one that has died: waiting" in log_messages[0]


def test_patience_ends(tmp_path):
    be_patient(0.5)
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert lock(first, fcntl.flock)
        with pytest.raises(BlockingIOError):
            lock(second, fcntl.flock)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_mentioned(tmp_path, log_messages, code):
    def how(file, operation):
        raise OSError(code, os.strerror(code))

    with (tmp_path / "lock").open("w") as file:
        assert not lock(file, how)
    assert (
        f"lock cannot be locked ({os.strerror(code)}): make sure that no other process writes there" in log_messages[0]
    )
