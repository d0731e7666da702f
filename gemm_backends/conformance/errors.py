"""Exceptions by which a check reports failure or that it does not apply."""


class CheckFailed(AssertionError):  # noqa: N818 - reads better where it is raised
    """The backend does not do what it should; the message says what it did instead.

    Parameters
    ----------
    message : str
        What it did.
    cause : str
        The kind of fault, where failures of one kind may have one root; see
        `gemm_backends.conformance.causes`.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class NotApplicable(Exception):  # noqa: N818 - it is not an error
    """The check says nothing about this backend; the message says why."""
