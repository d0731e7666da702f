"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# Machines that run tests are shared: no test fails for taking long.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
