"""Which lists of launches are recorded as graphs, and when a graph is launched in their place."""

import pytest

from accelsim.kernels.recurring import MOST, MOST_RECORDED, Recurring


class Launches:
    """A list of launches that says what was queued, and with which addresses."""

    def __init__(self):
        self.addresses, self.queued, self.recorded = None, [], 0

    def run(self, stream, beside):
        self.queued.append(("list", self.addresses))

    def record(self):
        self.recorded += 1
        return Graph(self, self.addresses)


class Graph:
    def __init__(self, launches, addresses):
        self.launches, self.addresses = launches, addresses

    def run(self, stream):
        self.launches.queued.append(("graph", self.addresses))


@pytest.fixture
def launches():
    return Launches()


def run_all(launches, runs):
    recurring = Recurring(launches)
    for addresses in runs:
        launches.addresses = addresses
        recurring.run(1, 2, addresses)
    assert [addresses for _, addresses in launches.queued] == list(runs)
    return [kind for kind, _ in launches.queued]


def test_the_third_run_at_an_address_is_a_graph(launches):
    kinds = run_all(launches, [(1, 0, 5)] * 4)
    assert kinds == ["list", "list", "graph", "graph"]


def test_every_address_counts(launches):
    a, b, c, d = (1, 0, 5), (2, 0, 5), (1, 1, 5), (1, 0, 6)
    kinds = run_all(launches, [a, b, c, d, a, a, b, d, d])
    assert kinds == ["list"] * 5 + ["graph", "list", "list", "graph"]


def test_addresses_that_never_recur_soon_are_not_recorded(launches):
    run_all(launches, [(i % (MOST + 1),) for i in range(100)])
    assert launches.recorded == 0


def test_as_many_as_are_kept_recur(launches):
    kinds = run_all(launches, [(i % MOST,) for i in range(4 * MOST)])
    assert kinds == ["list"] * 2 * MOST + ["graph"] * 2 * MOST


def test_a_graph_that_was_dropped_is_recorded_again_and_not_without_end(launches):
    runs = [(i // 3,) for i in range(3 * (MOST + 1))]  # the first graph makes room for the last
    kinds = run_all(launches, [*runs, (0,), (0,)])
    assert kinds[-2:] == ["list", "list"]
    launches = Launches()
    run_all(launches, [(i // 3,) for i in range(3 * 10 * MOST_RECORDED)])
    assert launches.recorded == MOST_RECORDED
