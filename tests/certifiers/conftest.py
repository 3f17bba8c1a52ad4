"""How tests answer a certifier."""

from collections.abc import Callable

import numpy as np
import pytest

from dmaelab.certifiers import Case, Certificate, Certifier


@pytest.fixture
def drive() -> Callable[..., Certificate]:
    """Run a certifier on counts that are given by stream."""

    def run(certifier: Certifier, case: Case, **counts: list[int]) -> Certificate:
        coroutine = certifier.certify(case)
        reply = None
        while True:
            try:
                request = coroutine.send(reply)
            except StopIteration as end:
                return end.value
            reply = np.array(counts[request.stream], np.int64)
            assert reply.sum() == request.total

    return run
