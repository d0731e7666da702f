"""The checks as pytest tests that an author inherits."""

from __future__ import annotations

from collections.abc import Callable

from gemm_backends.base import GemmBackend
from gemm_backends.conformance.check import Check, NotApplicable
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import CHECKS


class BackendConformance:
    """One test for every check of the kit, for pytest.

    Subclass it and say how to make the backend::

        from gemm_backends.conformance import BackendConformance

        class TestMyArray(BackendConformance):
            def make_backend(self):
                return MyArray()

    The tests are called ``test_`` and the name of the check. They are skipped where the backend is
    unavailable, with its reason, and where a check does not apply.
    """

    def make_backend(self) -> GemmBackend:
        """Return a new instance of the backend under test."""
        raise NotImplementedError(f"{type(self).__name__} must define make_backend()")

    def subject(self) -> Subject:
        """Return the backend, ready to be checked, or skip the test where it is unavailable."""
        import pytest

        backend = self.make_backend()
        availability = backend.availability()
        if not availability.available:
            pytest.skip(f"{backend.name} is unavailable: {availability.reason}")
        return Subject(backend)


def _as_test(check: Check) -> Callable[[BackendConformance], None]:
    def test(self: BackendConformance) -> None:
        import pytest

        try:
            check.run(self.subject())
        except NotApplicable as reason:
            pytest.skip(str(reason))

    test.__name__ = f"test_{check.name}"
    test.__doc__ = check.title
    return test


for _check in CHECKS:
    setattr(BackendConformance, f"test_{_check.name}", _as_test(_check))
