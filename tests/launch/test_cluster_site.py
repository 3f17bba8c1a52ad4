"""The file of a site: where it is found, what may stand in it, and that nothing else sets shell commands."""

import pytest
from fake_cluster import Training, work

from dmaelab.config import open_config
from dmaelab.engine.training import SECTIONS, check_training
from dmaelab.launch.cluster.site import VARIABLE, Site
from dmaelab.launch.cluster.slurm import Slurm
from dmaelab.utils.errors import ConfigError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that writes the file of a site and reads it."""

    def load(text, name="site.py"):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        return Site.load()

    return load


@pytest.mark.parametrize("value", [None, ""])
def test_the_file_of_the_package_asks_for_nothing(monkeypatch, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert Site.load() == Site({}, [], "configs/common/slurm.py ($DMAELAB_SLURM is not set)")


def test_a_file_of_ones_own(site, tmp_path):
    text = "_gpus = 4\nslurm = dict(partition='long', gpus_per_node=_gpus)\nsetup = ['module load cuda', 'ulimit -c 0']"
    path = f"{tmp_path}/site.py ($DMAELAB_SLURM)"
    assert site(text) == Site({"partition": "long", "gpus_per_node": 4}, ["module load cuda", "ulimit -c 0"], path)
    assert site("setup = ()") == site("") == Site({}, [], path)


def test_the_section_of_a_config_wins(site, tmp_path):
    site("slurm = dict(partition='long', nodes=2)")
    (task,) = work(tmp_path, ("train", Training("slurm: {nodes: 3, time: 5}"))).tasks
    settings = Slurm().settings(task)
    assert (settings.partition, settings.nodes, settings.time) == ("long", 3, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slurm = dict(partitoin='long')", "partition"),
        ("slurm = dict(nodes=0)", "slurm.nodes is 0: it must be at least 1"),
        ("slurm = dict(nodes='two')", "slurm.nodes"),
        ("slurm = dict(setup=['rm'])", "setup"),
        ("slurm = 3", "slurm"),
        ("slrum = dict()", "slrum"),
        ("setup = 'module load cuda'", "setup"),
        ("setup = {'a': 1}", "setup"),
        ("setup = 3", "setup"),
        ("setup = ['module load cuda', 3]", "setup: give a list of shell commands"),
        ("setup = [['module load cuda']]", "setup: give a list of shell commands"),
        ("slurm = dict(", "site.py"),
        ("import no_such_module", "no_such_module"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(site, text, words):
    with pytest.raises(ConfigError, match=rf"site\.py \(\${VARIABLE}\): ") as raised:
        site(text)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_missing_or_no_python_file(site, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"^\$DMAELAB_SLURM is '.*site.yaml': give a Python file such as configs/"):
        site("slurm: {}", "site.yaml")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match=r"none\.py \(\$DMAELAB_SLURM\): there is no config file .*none.py"):
        Slurm()


@pytest.mark.parametrize("override", ["slurm.setup=['touch x']", "+slurm.setup=['touch x']", "slurm.setup.0=x"])
def test_no_override_sets_shell_commands(override):
    with pytest.raises(ConfigError, match="setup"):
        check_training(open_config("digits/pretrain", [override], SECTIONS))


def test_no_section_of_a_config_sets_shell_commands(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from dmaelab.config import get_config\n"
        "globals().update(get_config('digits/pretrain'))\n"
        "slurm = dict(setup=['touch x'])"
    )
    with pytest.raises(ConfigError, match=r"^slurm.setup: slurm has no key 'setup'"):
        check_training(open_config(tmp_path / "mine.py", [], SECTIONS))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"^slurm.extra: 'wrap' cannot be set here"):
        Slurm().preview(work(tmp_path, ("train", Training("slurm: {extra: {wrap: touch x}}"))))


@pytest.mark.parametrize("text", ["setup: [touch x]", "setup: touch x\nslurm: {nodes: 1}"])
def test_a_section_setup_of_a_config_is_no_part_of_the_script(tmp_path, monkeypatch, text):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert "touch" not in Slurm().preview(work(tmp_path, ("train", Training(text))))
