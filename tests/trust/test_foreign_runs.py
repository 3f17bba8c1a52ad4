"""A run directory or a YAML config of somebody else builds only what has a role, and imports nothing beside it."""

import contextlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from refusals import refused

from dmaelab.config import LazyConfig, check, instantiate, load_plugins, open_config
from dmaelab.engine.certification import open_certification
from dmaelab.engine.inherited_labels import inherit_labels
from dmaelab.engine.training import SECTIONS, check_training
from dmaelab.launch.job import CertifyJob, TrainJob
from dmaelab.launch.pipeline import Pipeline
from dmaelab.utils.errors import ConfigError, UserError

ROOT = Path(__file__).resolve().parents[2]


def shell(marker):
    return {"_target_": "os.system", "command": f"touch {marker}"}


@pytest.mark.parametrize(
    "key",
    ["model", "model.classifier", "model.classifier.backbone", "model.classifier.backbone.width", "model.loss",
     "model.corruption.sigma", "model.new", "data.test", "data.test.split", "data.test.new"],
)  # fmt: skip
def test_a_call_in_any_place(tool, own_folder, foreign, marker, key):
    run = foreign({key: shell(marker)})
    for name, *options in (["certify.py", "--dry-run"], ["certify.py"], ["attack.py"]):
        refused(tool(name, run, "corruption.sigma=0.25", *options), marker)


@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "subprocess.Popen", "args": ["touch", "MARKER"]},
        {"_target_": "dmaelab.config.imports.os.system", "command": "touch MARKER"},
        {"_target_": "torch.os.system", "command": "touch MARKER"},
        {"_target_": "dmaelab.utils.files.write_text", "path": "MARKER", "text": ""},
        {"_target_": "torch.save", "obj": 1, "f": "MARKER"},
        {"_target_": "torch.nn.Module.register_module", "self": 1, "name": "x", "module": None},
        {"_target_": "torch.nn.Sequential", "_partial_": {"_target_": "os.system", "command": "touch MARKER"}},
        {"_target_": "torchvision.transforms.v2.Lambda", "lambd": {"_target_": "os.system", "_partial_": True}},
        {"_target_": "torchvision.transforms.Lambda", "lambd": 1},
        {"_target_": "timm.models.load_checkpoint", "model": 1, "checkpoint_path": "x"},
        {"_target_": "idlelib.idle.x"},
        {"_target_": "test.autotest.x"},
        {"_target_": "unittest.__main__.x"},
        {"_target_": "PIL.__main__.x"},
        {"_target_": "${certify.run}", "command": "touch MARKER"},
        "${oc.create:{_target_:os.system,command:touch MARKER}}",
        "${oc.decode:'{_target_:os.system,command:touch MARKER}'}",
    ],
    ids=str,
)
def test_any_call(tool, own_folder, foreign, marker, model):
    text = LazyConfig.load(foreign() / "config.yaml")
    text.model = OmegaConf.create({"x": model}).x if isinstance(model, dict) else model
    for name in ("foreign", "own/os.system"):  # the second name is what ${certify.run} then stands for
        run = foreign(folder=name)
        (run / "config.yaml").write_text(OmegaConf.to_yaml(text).replace("MARKER", str(marker)))
    for options in (["--dry-run"], []):
        refused(tool("certify.py", own_folder.parent / "foreign", "corruption.sigma=0.25", *options), marker)
        refused(tool("certify.py", "os.system", "corruption.sigma=0.25", *options), marker)


def test_the_data_set_of_a_run_cannot_borrow_from_the_certification(tool, own_folder, foreign, marker):
    run = foreign({"data.test": {"_target_": "${certify.run}", "command": f"touch {marker}"}}, folder="own/os.system",
                  certify={"run": "torch.nn.Identity"})  # fmt: skip
    assert run.is_dir()
    for options in (["--dry-run"], []):
        refused(tool("certify.py", "os.system", *options), marker)


@pytest.mark.parametrize("name", ["evil", "package.evil", "evil.__init__"])
@pytest.mark.parametrize("where", ["inside", "above", "path"])
def test_no_module_of_a_run_is_imported(tool, foreign, module, marker, monkeypatch, name, where):
    run = foreign({"model": {"_target_": f"{name.removesuffix('.__init__')}.Thing"}}, plugins=[])
    module(run, name)
    if where == "path":
        monkeypatch.syspath_prepend(str(run))
    monkeypatch.chdir(run if where == "inside" else run.parent)
    if where == "above":
        run = foreign({"model": {"_target_": f"foreign.{name.removesuffix('.__init__')}.Thing"}})
    for options in (["--dry-run"], []):
        refused(tool("certify.py", "." if where == "inside" else run, *options), marker)
    refused(tool("attack.py", run), marker)
    refused(tool("visualize.py", "reconstruct", run), marker)
    refused(tool("convert_weights.py", run, "x.pth", "--to", "timm"), marker)
    refused(tool("analyze_model.py", run), marker)


@pytest.mark.parametrize("section", ["trainer", "hooks", "optimizer", "data.test", "data.transform", "plugins"])
def test_nor_by_any_other_section(tool, foreign, module, marker, monkeypatch, section):
    node = {"_target_": "evil.Thing"}
    values = {"trainer": "evil.Thing", "hooks": [node], "data.transform": [node], "plugins": ["evil"]}
    run = foreign({section: values.get(section, node)})
    module(run)
    monkeypatch.chdir(run)
    refused(tool("analyze_model.py", "."), marker)
    refused(tool("train_net.py", "--config-file", "config.yaml", "train.out_dir=x", "--dry-run"), marker)
    refused(tool("train_net.py", "--config-file", "config.yaml", "train.out_dir=x"), marker)
    if section in ("plugins", "data.test"):
        refused(tool("certify.py", "."), marker)


@pytest.mark.slow
def test_processes_that_start_in_a_run_find_no_module_there(foreign, module, marker):
    """Python puts the working directory first in new processes, and torch looks for optional packages."""
    run = foreign()
    for name in ("multiprocessing", "threading", "opt_einsum", "triton", "sklearn"):
        module(run, name)
    command = [sys.executable, str(ROOT / "tools/certify.py"), ".", "--processes", "2"]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    result = subprocess.run(command, cwd=run, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert not marker.exists()
    assert result.returncode == 2
    assert result.stderr.endswith(
        "error: shards 0, 1 of 2 failed, see above; repeat the command to do the missing images\n"
    )


def test_links_and_archives_in_a_run_are_parts_of_it(tool, foreign, module, marker, monkeypatch, tmp_path):
    run = foreign(plugins=["evil"])
    module(tmp_path / "elsewhere")
    (run / "evil.py").symlink_to(tmp_path / "elsewhere/evil.py")
    monkeypatch.chdir(run)
    refused(tool("certify.py", "."), marker)
    (run / "evil.py").unlink()
    with zipfile.ZipFile(run / "modules.zip", "w") as archive:
        archive.write(tmp_path / "elsewhere/evil.py", "evil.py")
    monkeypatch.syspath_prepend(str(run / "modules.zip"))
    refused(tool("certify.py", "."), marker)
    link = tmp_path / "link"
    link.symlink_to(run)
    refused(tool("certify.py", link), marker)


def test_a_package_without_a_file_has_no_part_in_a_run(tool, foreign, module, marker, monkeypatch, tmp_path):
    module(tmp_path / "own", "shared_name.good")
    run = foreign(plugins=["shared_name.evil"])
    module(run, "shared_name.evil")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.chdir(run)
    refused(tool("certify.py", "."), marker)


def test_a_name_that_the_tools_try_to_import_is_not_found_in_a_run(tool, foreign, module, marker, monkeypatch):
    """An optional package that is missing must not come from the working directory."""
    run = foreign({"data.transform": [{"_target_": "dmaelab.data.transforms.rand_augment"}]})
    for name in ("timm", "safetensors", "tensorboard"):
        module(run, name)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(run)
    status, _ = tool("certify.py", ".", "--dry-run")
    assert status == 0
    assert not marker.exists()
    for name in ("timm", "safetensors", "tensorboard"):
        with contextlib.suppress(ImportError):
            __import__(name)
    assert not marker.exists()


@pytest.mark.parametrize("plugin", ["subprocess", "antigravity", "test.autotest", "idlelib.idle", "PIL.__main__"])
def test_no_plug_in_of_a_run_belongs_to_python(tool, own_folder, foreign, monkeypatch, plugin):
    if plugin != "subprocess":  # imported already, so naming it does nothing
        monkeypatch.delitem(sys.modules, plugin, raising=False)
    run = foreign(plugins=[plugin])
    for options in (["--dry-run"], []):
        status, error = tool("certify.py", run, *options)
        if plugin == "subprocess":
            assert status == (0 if options else 2)  # the run has no weights
        else:
            assert (status, error.count("\n")) == (2, 1)
            assert plugin not in sys.modules


@pytest.mark.parametrize(
    ("plugin", "target"),
    [("subprocess", "subprocess.getoutput"), ("torch", "torch.load"), ("dmaelab", "dmaelab.utils.files.write_text"),
     ("numpy", "numpy.save"), ("os", "os.system"), ("tests.conftest", "tests.conftest.batch")],
)  # fmt: skip
def test_a_run_makes_no_installed_package_a_trusted_plug_in(own_folder, foreign, plugin, target):
    run = foreign({"model": {"_target_": target}}, plugins=[plugin])
    with pytest.raises(UserError, match=r"may be called by a Python config only|no module named"):
        open_certification(run)


def test_the_owner_of_a_run_says_which_module_to_trust(tool, own_folder, foreign, module, monkeypatch):
    """A function of a module that is no plug-in of the run."""
    module(own_folder, "mine_alone")
    run = foreign({"model.classifier.backbone": {"_target_": "mine_alone.make"}})
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_folder)])
    status, error = tool("certify.py", run, "--dry-run")
    assert status == 2
    assert f"error: {run}: model.classifier.backbone._target_: the function 'mine_alone.make' may be called" in error
    assert "if you trust it, add plugins=['mine_alone'] (--plugin mine_alone for a tool without overrides)" in error
    assert error.count("\n") == 1
    assert tool("certify.py", run, "--dry-run", "+plugins=['mine_alone']") == (0, "")


def test_a_plug_in_of_a_run_of_ones_own_is_found(own_folder, foreign, module, monkeypatch):
    module(own_folder, "mine_listed")
    run = foreign({"model.classifier.backbone": {"_target_": "mine_listed.make"}}, plugins=["mine_listed"])
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_folder)])
    assert open_certification(run).cfg.plugins == ["mine_listed"]


def test_a_class_of_ones_own_needs_no_plug_in(own_folder, foreign, module, monkeypatch):
    module(own_folder, "mine_class")
    run = foreign({"model.classifier.backbone": {"_target_": "mine_class.Thing"}})
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_folder)])
    assert open_certification(run).cfg.get("plugins") is None


def test_a_module_in_a_run_is_imported_if_the_user_trusts_it(tool, foreign, module, marker, monkeypatch):
    run = foreign(plugins=["in_the_run"])
    module(run, "in_the_run")
    monkeypatch.chdir(run)
    _, error = tool("certify.py", ".", "--dry-run")
    assert "'in_the_run' lies in" in error
    assert "if you trust it, add plugins=['in_the_run']" in error
    assert not marker.exists()
    assert tool("certify.py", ".", "--dry-run", "plugins=['in_the_run']") == (0, "")
    assert marker.exists()


def test_the_weights_that_a_training_starts_from_say_only_labels(own_folder, foreign, module, marker, finetune_config):
    run = foreign({"model": shell(marker)}, plugins=["evil"])
    module(run)
    cfg = finetune_config(f"train.init_from={run}", "+labels={'method': 'RS'}")
    with pytest.raises(ConfigError, match="plugins: evil"):
        inherit_labels(cfg)
    assert not marker.exists()


def test_a_run_that_replaces_a_stage(tool, own_folder, foreign, marker):
    run = foreign({"model": shell(marker)})
    weights = f"pipeline.weights.rs={run}"
    for options in (["--dry-run"], []):
        refused(tool("pipeline.py", "--config-file", "pipelines/digits", weights, *options), marker)


def stages(**changes):
    stage = {"name": "pretrain", "config": "digits/pretrain", "overrides": [], **changes}
    return {"pipeline": {"out_dir": "runs/x"}, "stages": [stage]}


@pytest.mark.parametrize(
    "cfg",
    [
        stages(config="FOREIGN/evil.py"),
        stages(config="FOREIGN/evil"),
        stages(config="FOREIGN/evil.py/"),
        stages(config="FOREIGN/evil.py/."),
        stages(overrides={"plugins=['evil']": 1}),
        stages(config="../../../../../../../../../FOREIGN/evil"),
        stages(overrides=["plugins=['evil']"]),
        stages(overrides=["  + plugins.0='evil'"]),
        stages(overrides=["${pipeline.title}"]) | {"pipeline": {"out_dir": "x", "title": "+plugins=['evil']"}},
        stages(overrides=["model={'_target_':'evil.Thing'}"]),
        stages(overrides=["model={'_target_':'os.system','command':'touch MARKER'}"]),
        stages(overrides=[{"_target_": "os.system", "command": "touch MARKER"}]),
        {"pipeline": {"out_dir": {"_target_": "os.system", "command": "touch MARKER"}}, "stages": []},
        stages() | {"plugins": ["evil"]},
    ],
    ids=str,
)
def test_pipelines_in_yaml(tool, tmp_path, monkeypatch, module, marker, cfg):
    folder = tmp_path / "foreign"
    module(folder)
    text = OmegaConf.to_yaml(OmegaConf.create(cfg)).replace("FOREIGN", str(folder)).replace("MARKER", str(marker))
    (folder / "chain.yaml").write_text(text)
    monkeypatch.chdir(folder)
    for options in (["--dry-run"], []):
        refused(tool("pipeline.py", "--config-file", "chain.yaml", *options), marker)


@pytest.mark.parametrize(
    "debug",
    [["plugins=['evil']"], ["model={'_target_':'os.system','command':'touch MARKER'}"]],
)
def test_trials_in_yaml(tool, tmp_path, monkeypatch, module, foreign, marker, debug):
    run = foreign(debug=[text.replace("MARKER", str(marker)) for text in debug])
    module(run)
    monkeypatch.chdir(run)
    refused(tool("train_net.py", "--config-file", "config.yaml", "--debug"), marker)


@pytest.mark.parametrize("debug", [{"plugins=['evil']": 1}, [{"+plugins=['evil']": 1}]])
def test_trials_in_yaml_whose_overrides_are_keys(tool, monkeypatch, module, foreign, marker, debug):
    run = foreign(debug=debug)
    module(run)
    monkeypatch.chdir(run)
    refused(tool("train_net.py", "--config-file", "config.yaml", "--debug"), marker)


@pytest.mark.parametrize("section", ["classifier", "certifier", "corruption", "dataset", "certify", "certifier.n0"])
def test_certifications_in_yaml(tool, tmp_path, own_folder, marker, section):
    cfg = open_config("certify/default", ["+certify.out_dir=x", "corruption.sigma=0.25"])
    cfg.dataset = {"_target_": "dmaelab.data.build.build_dataset", "name": "generated", "image_size": 8}
    cfg.classifier = {"_target_": "torch.nn.Flatten"}
    OmegaConf.update(cfg, section, shell(marker), merge=False)
    LazyConfig.save(cfg, tmp_path / "certification.yaml")
    for options in (["--dry-run"], []):
        refused(tool("certify.py", tmp_path / "certification.yaml", *options), marker)


def test_a_certification_in_yaml_that_names_the_run_around_it(tool, foreign, module, marker, monkeypatch):
    """The run is somebody's whole folder, with the config in a folder of its own, and the user stands in it."""
    run = foreign()
    module(run / "evil.py")
    (run / "certs").mkdir()
    OmegaConf.save({"plugins": ["evil"], "certify": {"run": str(run)}}, run / "certs/mine.yaml")
    monkeypatch.chdir(run)
    refused(tool("certify.py", "certs/mine.yaml", "--dry-run"), marker)


def test_a_library_that_reads_yaml_is_as_careful(tmp_path, monkeypatch, module, marker):
    folder = tmp_path / "foreign"
    module(folder)
    path = folder / "config.yaml"
    monkeypatch.syspath_prepend(str(folder))
    for node in (shell(marker), {"_target_": "evil.Thing"}, {"_target_": "evil.make"}):
        path.write_text(OmegaConf.to_yaml(OmegaConf.create({"model": node, "plugins": []})))
        for read in (LazyConfig.load, open_config):
            for use in (check, lambda cfg: instantiate(cfg.model), TrainJob.of):
                with pytest.raises(ConfigError):
                    use(read(path))
    path.write_text("plugins: [evil]")
    for use in (check, load_plugins):
        with pytest.raises(ConfigError, match="'evil' lies in"):
            use(LazyConfig.load(path))
    assert not marker.exists()


def test_what_was_refused_stays_refused_in_a_job(own_folder, foreign, marker):
    cfg = LazyConfig.load(foreign({"model": shell(marker)}) / "config.yaml")
    with pytest.raises(ConfigError, match=r"^model\._target_: the function 'os\.system' may be called"):
        TrainJob.of(cfg)
    assert not marker.exists()


def test_a_job_takes_along_what_is_trusted(own_folder, foreign, module, monkeypatch):
    """Also to a process in which no Python config was read, and for the runs that it opens."""
    from dmaelab.config import imports, trust

    monkeypatch.setattr(sys, "path", [*sys.path, str(own_folder)])
    module(own_folder, "mine_in_a_job")
    run = foreign({"model.classifier.backbone": {"_target_": "mine_in_a_job.make"}})
    (own_folder / "calls.py").write_text("def digits(split):\n from dmaelab import DATASETS\n"
                                         " return DATASETS.build('digits', split=split)\n")  # fmt: skip
    (own_folder / "mine.py").write_text(
        "from calls import digits\nfrom dmaelab.config import LazyCall as L, get_config\n"
        "_base = get_config('certify/default')\ncertify, certifier, corruption = _base.certify, _base.certifier,"
        f" _base.corruption\ncertify.run = {str(run)!r}\ndataset = L(digits)(split='test')\n"
    )
    job = CertifyJob.of(open_certification("mine.py", ["+plugins=['mine_in_a_job']"]).cfg)
    assert "mine_in_a_job" in job.plugins
    assert str(run) in job.foreign
    monkeypatch.setattr(trust, "_plugins", {})
    monkeypatch.setattr(trust, "_targets", set())
    monkeypatch.setattr(imports, "_foreign", {})
    assert job.part(0, 2).certification().cfg.dataset._target_ == "calls.digits"


def test_configs_of_the_package_need_no_trust(monkeypatch, tmp_path):
    from dmaelab.config import trust

    monkeypatch.setattr(trust, "_targets", set())
    LazyConfig.save(open_config("imagenet/finetune_base_cr"), tmp_path / "training.yaml")
    LazyConfig.save(open_config("pipelines/table2"), tmp_path / "pipeline.yaml")
    monkeypatch.setattr(trust, "_targets", set())
    check_training(open_config(tmp_path / "training.yaml", ["train.batch_size=2048"], SECTIONS))
    Pipeline(open_config(tmp_path / "pipeline.yaml"))
