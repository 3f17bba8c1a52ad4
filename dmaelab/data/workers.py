"""The end of loader workers: those that a signal has killed, and those that hang."""

import time
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

from dmaelab.utils.errors import MachineError
from dmaelab.utils.machine import killed_worker

_PATIENCE = 3.0  # seconds that the workers get to end


def end_workers(batches: Any) -> None:
    """End the workers of torch's iterator. Those that hang, for example in a read that never returns, are killed.

    torch alone would wait five seconds for each of them, and then send SIGTERM, which they block.
    """
    if batches._shutdown:  # torch has ended them after the last item
        return
    workers = batches._workers
    batches._workers_done_event.set()
    for queue in batches._index_queues:
        queue.put(None)
    deadline = time.monotonic() + _PATIENCE
    while (running := [worker.sentinel for worker in workers if worker.is_alive()]) and time.monotonic() < deadline:
        connection.wait(running, timeout=max(0.0, deadline - time.monotonic()))
    for worker in workers:
        worker.kill()
    batches._shutdown_workers()


def killed(workers: Sequence[Any]) -> MachineError | None:
    """Return the error of a worker that a signal has killed, None if there is none."""
    connection.wait([worker.sentinel for worker in workers], timeout=1.0)  # its connections end before it does
    dead = (worker for worker in workers if worker.exitcode is not None and worker.exitcode < 0)
    return next((killed_worker(worker.pid, -worker.exitcode) for worker in dead), None)
