import logging

import pytest

from dmaelab.utils import logs
from dmaelab.utils.logs import setup_logging


@pytest.fixture(autouse=True)
def logger():
    """The logger of the package, put back to what it was."""
    logger = logging.getLogger("dmaelab")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers = []
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.level, logger.propagate = before


def messages(text):
    return [line.split("  ", 1)[1] for line in text.splitlines()]


def test_messages_go_to_the_console_and_to_the_folder(logger, tmp_path, capsys):
    setup_logging(tmp_path)
    logger.info("step %d", 3)
    logging.getLogger("dmaelab.part").warning("careful")
    logger.debug("details")
    assert messages(capsys.readouterr().out) == ["step 3", "careful"]
    assert messages((tmp_path / "log.txt").read_text()) == ["step 3", "careful"]


def test_a_second_run_does_not_write_to_the_folder_of_the_first(logger, tmp_path, capsys):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        setup_logging(tmp_path / name)
        logger.info(name)
    setup_logging()
    logger.info("third")
    assert messages(capsys.readouterr().out) == ["first", "second", "third"]
    assert messages((tmp_path / "first/log.txt").read_text()) == ["first"]
    assert messages((tmp_path / "second/log.txt").read_text()) == ["second"]


def test_a_resumed_run_adds_to_its_file(logger, tmp_path):
    for name in ("first", "second"):
        setup_logging(tmp_path)
        logger.info(name)
    assert messages((tmp_path / "log.txt").read_text()) == ["first", "second"]


def test_other_processes_speak_of_warnings_only_and_write_no_file(logger, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logs, "is_main", lambda: False)
    setup_logging(tmp_path)
    logger.info("step")
    logger.warning("careful")
    assert messages(capsys.readouterr().out) == ["careful"]
    assert list(tmp_path.iterdir()) == []
