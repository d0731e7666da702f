"""A kit that determines whether a backend does what it claims.

`verify` runs it, as does ``accelsim verify NAME``; a backend's author subclasses
`BackendConformance` in the tests of their own package. Neither imports pytest or Hypothesis before
it is needed.
"""

from gemm_backends.conformance.suite import BackendConformance
from gemm_backends.conformance.verification import CHECKS, verify

__all__ = ["CHECKS", "BackendConformance", "verify"]
