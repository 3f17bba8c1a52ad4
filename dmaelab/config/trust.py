"""Trust: what a config may call.

Code is what the user names: Python configs, and the plug-ins of the command line, of a Python config and of
``$DMAELAB_PLUGINS``. Data is the rest: YAML files, run directories and overrides. Data may call the entries of
registries, :data:`BUILDERS`, classes that derive from :data:`BASES`, and what trusted plug-ins define.
docs/trust.md explains the rules to users.
"""

import sys
from collections.abc import Iterable
from types import FunctionType
from typing import Any

from dmaelab.registry import Registry
from dmaelab.utils.errors import ConfigError

BASES = (
    "torch.nn.Module",  # models, losses, torchvision's transforms
    "torch.optim.Optimizer",
    "fvcore.common.param_scheduler.ParamScheduler",
    "dmaelab.certifiers.base.Certifier",
    "dmaelab.corruptions.base.Corruption",
    "dmaelab.data.base.Dataset",
    "dmaelab.data.transforms.HorizontalFlip",
    "dmaelab.data.transforms.RandomCrop",
    "dmaelab.engine.hooks.base.Hook",
    "dmaelab.engine.trainer.Trainer",
    "dmaelab.modeling.mixing.Mixing",
)
"""Classes that any config may build, and so may it build every class that derives from one of them.

They are names, because this room imports no torch.
"""

BUILDERS = (
    "dmaelab.data.transforms.rand_augment",
    "dmaelab.data.transforms.random_horizontal_flip",
    "dmaelab.data.transforms.random_resized_crop",
    "dmaelab.data.transforms.single_draw_crop",
    "dmaelab.losses.consistency.paper_mu",
    "dmaelab.solver.lars.build_lars",
    "dmaelab.solver.optimizers.build_adamw",
    "dmaelab.solver.schedules.scaled_lr",
    "dmaelab.solver.schedules.warmup_cosine",
    "dmaelab.solver.schedules.warmup_cosine_epochs",
    "dmaelab.weights.load.load_classifier",
    "dmaelab.weights.load.load_pretrain",
)
"""Functions that any config may call, besides the ``build_<kind>`` of a registry. They read at most weights."""

_plugins: dict[str, None] = {}  # trusted modules, in the order in which they were named
_targets: set[str] = set()  # dotted names that the user's own Python code has put into a config


def trust_module(module: str) -> None:
    """From now on every config may call what this module and its submodules define."""
    _plugins[module] = None


def trust_target(name: str) -> None:
    """From now on every config may call what has this dotted name."""
    _targets.add(name)


def is_trusted(module: str) -> bool:
    """Return whether a module is a trusted plug-in, or part of one."""
    return any(f"{module}.".startswith(f"{plugin}.") for plugin in _plugins)


def is_trusted_target(name: str) -> bool:
    """Return whether the user's own Python code has put this dotted name into a config."""
    return name in _targets


def trusted_modules() -> tuple[str, ...]:
    """Return the trusted plug-ins."""
    return tuple(_plugins)


def how_to_trust(module: str) -> str:
    """Return what to add to a command so that a module becomes a trusted plug-in."""
    return f"add plugins=['{module}'] (--plugin {module} for a tool without overrides), or set DMAELAB_PLUGINS={module}"


def check_call(name: str, found: Any) -> None:
    """Refuse an object that data may not call.

    Args:
        name: its dotted name in the config.
        found: the object of that name.

    Raises:
        ConfigError: the object is none of those that the docstring of this module lists.
    """
    module = str(getattr(found, "__module__", None))
    if is_trusted(module) or _is_builder(found) or _has_a_role(found):
        return
    what = "the class" if isinstance(found, type) else "the function"
    hint = "" if module.split(".")[0] in sys.stdlib_module_names else f"; if you trust it, {how_to_trust(module)}"
    raise ConfigError(f"{what} '{name}' may be called by a Python config only, see docs/trust.md{hint}")


def _is_builder(found: Any) -> bool:
    if type(found) is not FunctionType:
        return False
    return isinstance(getattr(found, "registry", None), Registry) or any(found is one for one in _loaded(BUILDERS))


def _has_a_role(found: Any) -> bool:
    # Not issubclass: classes of others may pretend there.
    return isinstance(found, type) and any(base in type.mro(found) for base in _loaded(BASES))


def _loaded(names: Iterable[str]) -> list[Any]:
    """Return the objects of dotted names whose modules are imported."""
    parts = [name.rpartition(".") for name in names]
    return [getattr(sys.modules[module], name) for module, _, name in parts if hasattr(sys.modules.get(module), name)]
