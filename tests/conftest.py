"""Settings of all tests."""

import gc
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# Machines that run tests are shared: no test fails for taking long.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Workers of pytest-xdist, one a core, do not start threads beside each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "NUMBA"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Leave what the tests import out of every later collection of garbage, half a second each."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what prints a line at once, although the output of tests is captured."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"{request.node.name}: {line}", flush=True)

    return say
