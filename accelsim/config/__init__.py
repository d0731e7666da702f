"""The config of a run: YAML in, a checked `RunConfig` out."""

from accelsim.config.load import load_config
from accelsim.config.run_config import BackendChoice, QuantizePoint, RunConfig, UnpackPoint

__all__ = ["BackendChoice", "QuantizePoint", "RunConfig", "UnpackPoint", "load_config"]
