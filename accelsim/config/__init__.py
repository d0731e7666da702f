"""The config of a run: YAML in, a checked `RunConfig` out."""

from accelsim.config.load import load_config
from accelsim.config.run_config import BackendChoice, RunConfig

__all__ = ["BackendChoice", "RunConfig", "load_config"]
