"""What a command that refuses foreign code must do."""


def refused(result, marker):
    """Nothing foreign was run, and the command ended with one line and status 2."""
    status, error = result
    assert not marker.exists()
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
