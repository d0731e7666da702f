"""Routes: the ways from float operands to the exact product."""

from accelsim.routes.general import GeneralRoute
from accelsim.routes.opening import open_route
from accelsim.routes.simulated import SimulatedRoute
from accelsim.routes.verdict import Expected, expected, judge, wrong_floats

__all__ = [
    "Expected",
    "GeneralRoute",
    "SimulatedRoute",
    "expected",
    "judge",
    "open_route",
    "wrong_floats",
]
