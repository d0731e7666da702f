"""What another process loads to make records of a run."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.config import RunConfig, load_config
from accelsim.errors import InputError
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import list_cases


@dataclass(frozen=True)
class Job:
    """A config as another process finds it.

    Parameters
    ----------
    path : str
        The config file, which all machines see under the same path.
    overrides, backends : tuple of str
        What `accelsim.config.load_config` takes.
    config_hash : str
        What the config must be.
    """

    path: str
    overrides: tuple[str, ...]
    backends: tuple[str, ...]
    config_hash: str

    @classmethod
    def of(cls, config: RunConfig) -> Job:
        """Return the job of a config that this process has loaded."""
        path = str(config.path.absolute())
        return cls(path, config.overrides, config.backend_names, config.config_hash)


class Loaded:
    """A job in the process that carries it out: its cases, and the bench with the last operands.

    Raises
    ------
    InputError
        If the config is not what it was where the run started.
    """

    def __init__(self, job: Job) -> None:
        config = load_config(job.path, job.overrides, job.backends)
        if config.config_hash != job.config_hash:
            raise InputError(f"{job.path} is another config on a worker than where the run started")
        self.choices = config.backends
        self.cases = list_cases(config, config.gemms())
        self.bench = CaseBench(config)
