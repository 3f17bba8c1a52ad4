"""The watchdog: it ends a process that hangs, and leaves alone whatever ends in time."""

import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from dmaelab.engine.checkpoint import save_file
from dmaelab.utils.errors import MachineError, Preempted
from dmaelab.utils.signals import ALL, StopSignals, held_back, let_through, preempted_by_signals
from dmaelab.utils.watchdog import WATCHDOG, Terms

HEAD = """
import ctypes, os, signal, sys, time
from dmaelab.utils.cli import run_main
from dmaelab.utils.signals import StopSignals, preempted_by_signals
from dmaelab.utils.watchdog import WATCHDOG, Terms

def block():
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex), libc.pthread_mutex_lock(mutex)

def flagged(grace, words="stopped by a signal: late"):
    signals = StopSignals(lambda number, frame: None, Terms(grace, lambda: words + ""))
    signals.catch()
    return signals

def send(*names):
    for name in names:
        os.kill(os.getpid(), getattr(signal, name))
"""


def run(code):
    """Run code after HEAD in a new process; return its status, its lines on stderr, and its seconds."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stderr.splitlines(), time.monotonic() - begin


HANGS = {
    "a flag that nobody reads": ("flagged(0.3); send('SIGTERM'); time.sleep(1000)", 75, "stopped by a signal: late"),
    "a call of C": ("flagged(0.3); send('SIGUSR2', 'SIGTERM'); block()", 75, "stopped by a signal: late"),
    "Ctrl-C": ("flagged(0.3); send('SIGINT'); time.sleep(1000)", 130, "interrupted: late"),
    "Ctrl-C and a signal": ("flagged(0.3); send('SIGINT', 'SIGHUP'); block()", 75, "stopped by a signal: late"),
    "words that fail": ("flagged(0.3, 3); send('SIGTERM'); time.sleep(1000)", 75, "stopped by a signal: give the same"),
    "the time begins again for the outer block": (
        "signals = flagged(0.3, 'inner'); send('SIGTERM'); signals.give_back(); block()", 75,
        "stopped by a signal in the middle of a call: give the same command again",
    ),
    "an exception that gets lost": (
        """
    try:
        send('SIGTERM')
    except BaseException:
        time.sleep(1000)
""", 75, "stopped by a signal in the middle of a call: give the same command again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HANGS)
def test_what_hangs_is_ended_with_one_line(name):
    code, status, line = HANGS[name]
    ended, errors, _ = run(f"def main():\n    {code}\nrun_main(main)")
    assert ended == status, errors
    assert len(errors) == 1
    assert errors[0].startswith(line)


WAITS = {
    "for a connection": "multiprocessing.connection.wait([os.pipe()[0]])",
    "for a pipe": "os.read(os.pipe()[0], 1)",
    "for a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "for a time": "time.sleep(1000)",
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_signal_that_another_thread_got_interrupts_the_main_thread(wait):
    """The operating system chooses the thread."""
    status, errors, _ = run(f"""
import multiprocessing.connection, threading
def main():
    other = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
    other.start()
    threading.Timer(0.5, lambda: signal.pthread_kill(other.ident, signal.SIGTERM)).start()
    {WAITS[wait]}
run_main(main)
""")
    assert (status, errors) == (75, ["stopped by a signal: give the same command again"])


def test_a_signal_after_the_status_is_decided_leaves_it():
    status, errors, _ = run("""
import threading
def main():
    last = threading.main_thread().join  # returns when Python begins to shut down
    threading.Thread(target=lambda: (last(), send("SIGTERM", "SIGINT", "SIGHUP"))).start()
run_main(main)
""")
    assert (status, errors) == (0, [])


def test_a_signal_during_an_import_ends_the_command(tmp_path):
    """Where an exception is raised during an import it can get lost, so there the command ends without one."""
    (tmp_path / "slow.py").write_text("import __main__; __main__.send('SIGTERM')\n")
    folder = str(tmp_path)
    code = f"def main():\n    sys.path.append({folder!r})\n    try: import slow\n    except BaseException: pass\n"
    code += "run_main(main)"
    assert run(code)[:2] == (75, ["stopped by a signal: give the same command again"])


def test_a_pause_lasts_as_long_as_it_must_and_then_the_time_begins_again():
    code = """
def main():
    flagged(0.5)
    send('SIGTERM')
    with WATCHDOG.pause():
        time.sleep(1.5)
        print('saved', flush=True, file=sys.stderr)
    time.sleep(1000)
run_main(main)"""
    assert run(code)[:2] == (75, ["saved", "stopped by a signal: late"])


def test_the_second_ctrl_c_counts_after_a_second_even_in_a_pause():
    code = """
def main():
    flagged(None)
    with WATCHDOG.pause():
        send('SIGINT', 'SIGINT')
        time.sleep(1.5)
        send('SIGINT')
        block()
run_main(main)"""
    status, errors, _ = run(code)
    assert (status, errors) == (130, ["interrupted: late"])


def test_child_processes_are_ended_too():
    code = """
import multiprocessing
def main():
    flagged(0.3)
    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1000,), daemon=True)
    child.start()
    print(child.pid, flush=True, file=sys.stderr)
    send('SIGTERM')
    time.sleep(1000)
run_main(main)"""
    _, errors, _ = run(code)
    time.sleep(0.5)
    stat = Path(f"/proc/{errors[0]}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_program_of_ones_own_is_never_ended_by_ctrl_c_alone():
    status, errors, _ = run("flagged(0.2); send('SIGINT'); time.sleep(1); print('alive', file=sys.stderr)")
    assert (status, errors) == (0, ["alive"])


@pytest.fixture
def flagged():
    """Signals that are caught and change nothing, with a short grace time."""
    signals = StopSignals(lambda number, frame: None, Terms(0.3, lambda: "late"))
    signals.catch()
    yield signals
    signals.give_back()


def test_a_block_that_ends_in_time_leaves_nothing_behind(flagged):
    os.kill(os.getpid(), signal.SIGTERM)
    flagged.give_back()
    time.sleep(0.6)
    assert signal.set_wakeup_fd(-1) == -1
    assert not any(thread.name == "watchdog" for thread in threading.enumerate())
    assert [WATCHDOG.signalled, WATCHDOG.stopping] == [False, False]


def test_the_wakeup_file_and_the_handler_of_the_program_come_back():
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender)
    before = signal.signal(signal.SIGURG, print)
    try:
        with preempted_by_signals("come back"):
            pass
        assert signal.set_wakeup_fd(-1) == sender
        assert signal.getsignal(signal.SIGURG) is print
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGURG, before)
        os.close(receiver), os.close(sender)


def test_other_threads_install_no_handlers():
    before = [signal.getsignal(number) for number in ALL]
    found = []

    def work():
        with preempted_by_signals("come back"):
            found.extend(signal.getsignal(number) for number in ALL)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == before


def test_a_forked_process_has_the_old_handlers_and_does_not_wake_the_watchdog(flagged):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    child.start()
    child.terminate()
    child.join(20)
    assert child.exitcode == -signal.SIGTERM
    assert not WATCHDOG.signalled


def test_later_signals_are_ignored_and_ctrl_c_is_an_interrupt():
    done = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all")

    with (
        pytest.raises(KeyboardInterrupt, match="interrupted; come back"),
        preempted_by_signals("stopped by a signal; come back"),
    ):
        work()
    assert done == ["all"]


def fail_while_passing(name, error):
    """Let a signal arrive inside a library whose clean-up raises an error."""
    with preempted_by_signals("asked to stop"):
        try:
            signal.raise_signal(getattr(signal, name))
        finally:
            raise error


@pytest.mark.parametrize(("name", "kind"), [("SIGTERM", Preempted), ("SIGINT", KeyboardInterrupt)])
def test_an_error_in_the_clean_up_of_a_library_does_not_hide_the_signal(name, kind):
    with pytest.raises(kind, match=r"^asked to stop$"):
        fail_while_passing(name, AttributeError("not finished"))
    with pytest.raises(kind, match=r"^asked to stop$"), preempted_by_signals("around it"):
        fail_while_passing(name, ValueError("not finished"))
    for fault in (MachineError("the disk is full"), OSError(errno.ENOSPC, "No space left on device")):
        with pytest.raises(type(fault)):
            fail_while_passing(name, fault)


@pytest.mark.parametrize("commanded", [True, False])
def test_a_command_that_was_asked_to_stop_does_not_fail_in_another_way(monkeypatch, commanded):
    """A library may hide what it was doing when it failed."""
    monkeypatch.setattr(WATCHDOG, "commanded", commanded)

    def work():
        with preempted_by_signals("asked to stop"):
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                try:
                    raise ValueError("not finished")
                except ValueError as error:
                    error.__context__ = None
                    raise

    with pytest.raises(Preempted if commanded else ValueError):
        work()


def fail_later():
    with preempted_by_signals("asked to stop"):
        with suppress(Preempted):
            signal.raise_signal(signal.SIGTERM)
        raise ValueError("later, and not because of the signal")


def test_other_errors_stay():
    with pytest.raises(AttributeError), preempted_by_signals("asked to stop"):
        raise AttributeError("no signal came")
    with pytest.raises(ValueError, match="later"):
        fail_later()


class Stopped(io.RawIOBase):
    """A file in which the second Ctrl-C of a training arrives."""

    writes = 0

    def writable(self):
        return True

    def write(self, content):
        self.writes += 1
        if self.writes == 3:
            WATCHDOG.stopping = True
            raise KeyboardInterrupt("interrupted at once")
        return len(content)


def test_a_stop_that_torch_turns_into_an_error_of_its_own_stays_one(tmp_path, monkeypatch):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: save(state, Stopped()))
    with pytest.raises(KeyboardInterrupt, match="interrupted at once"), preempted_by_signals("asked to stop"):
        save_file(tmp_path / "step.pth", {"model": torch.zeros(100_000)})
    assert not list(tmp_path.iterdir())


def test_signals_that_are_held_back_come_later():
    pending = []

    def work():
        with held_back():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            pending.extend(signal.sigpending())

    with pytest.raises(Preempted), preempted_by_signals("come back"):
        work()
    assert pending == [signal.SIGTERM]
    let_through()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(ALL) == set()


def test_an_output_that_nobody_reads_does_not_keep_the_process():
    """The reader of stderr hangs, and the pipe is full: the last line is lost, but the process ends."""
    code = (
        HEAD
        + """
def main():
    flagged(0.3)
    os.set_blocking(2, False)
    while True:
        try: os.write(2, b'x' * 65536)
        except BlockingIOError: break
    os.set_blocking(2, True)
    send('SIGTERM')
    time.sleep(1000)
run_main(main)"""
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        try:
            assert process.wait(60) == 75
        finally:
            process.kill()


@pytest.mark.parametrize("moment", ["enter", "leave"])
def test_a_signal_while_handlers_change_leaves_none_behind(monkeypatch, moment):
    """Another thread gets the signal, so the handler runs although this thread blocks it."""
    before = [signal.getsignal(number) for number in ALL]
    change = getattr(WATCHDOG, moment)

    def signalled(terms):
        monkeypatch.setattr(WATCHDOG, moment, change)
        change(terms)
        StopSignals._active[-1]._handle(signal.SIGTERM, None)

    def work():
        with preempted_by_signals("come back"):
            if moment == "enter":
                monkeypatch.setattr(WATCHDOG, moment, signalled)
            with preempted_by_signals("come back, too"):
                if moment == "leave":
                    monkeypatch.setattr(WATCHDOG, moment, signalled)

    with pytest.raises(Preempted):
        work()
    assert [signal.getsignal(number) for number in ALL] == before
    assert (StopSignals._active, StopSignals._holding, StopSignals._held) == ([], 0, [])
    assert not any(thread.name == "watchdog" for thread in threading.enumerate())
