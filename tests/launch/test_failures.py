"""Whose fault it is that processes failed, and what is said about them."""

import signal

import pytest

from dmaelab.launch.failures import failure
from dmaelab.utils.errors import MachineError, UserError

KILL, BUS, ABORT, SEGV, TERM = (
    -number for number in (signal.SIGKILL, signal.SIGBUS, signal.SIGABRT, signal.SIGSEGV, signal.SIGTERM)
)


@pytest.mark.parametrize(
    ("failed", "kind", "text"),
    [
        (
            {1: KILL},
            MachineError,
            "part 1 of 4 failed, see above (1: killed by SIGKILL, perhaps because the memory was",
        ),
        ({0: 71, 1: KILL}, MachineError, "parts 0, 1 of 4 failed, see above (1: killed by SIGKILL, perhaps"),
        ({0: 71}, MachineError, "part 0 of 4 failed, see above; go on"),
        (
            {2: BUS, 3: ABORT},
            MachineError,
            "parts 2, 3 of 4 failed, see above (2: killed by SIGBUS, perhaps because the",
        ),
        ({3: SEGV}, MachineError, "part 3 of 4 failed, see above (3: killed by SIGSEGV); go on"),
        ({0: 2}, UserError, "part 0 of 4 failed, see above; go on"),
        ({0: 2, 1: KILL}, UserError, "parts 0, 1 of 4 failed, see above (1: killed by SIGKILL, perhaps because the"),
        ({0: 71, 1: 2}, UserError, "parts 0, 1 of 4 failed, see above; go on"),
        ({0: 71, 1: 1}, UserError, "parts 0, 1 of 4 failed"),  # a bug, whose end broke the connection of the other
        ({0: TERM}, UserError, "part 0 of 4 failed, see above (0: killed by SIGTERM)"),
    ],
)
def test_the_machine_is_to_blame_only_if_it_is_for_all(failed, kind, text):
    error = failure(failed, 4, "part", "parts", "go on")
    assert type(error) is kind
    assert str(error).startswith(text)
    assert str(error).endswith("; go on")
