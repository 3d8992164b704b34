"""The laws that placement claims."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervision.placement import (
    AFFINITY_FACTOR,
    AFFINITY_SLACK,
    Budget,
    Full,
    HostView,
    NodeView,
    Request,
    StartNew,
    TakeSpare,
    UseHost,
    place,
)

NAMES = [f"h{number}" for number in range(6)]
NODES = ["n1", "n2", "n3"]
HOSTS = st.lists(
    st.builds(
        HostView,
        name=st.sampled_from(NAMES),
        node=st.sampled_from(NODES),
        load=st.integers(0, 4),
        ward=st.booleans(),
    ),
    unique_by=lambda host: host.name,
    max_size=6,
)
VIEWS = st.lists(
    st.builds(
        NodeView,
        name=st.sampled_from(NODES),
        spares=st.sampled_from([(), ("first", "second")]),
        coming=st.integers(0, 2),
        silent=st.booleans(),
    ),
    unique_by=lambda node: node.name,
    min_size=1,
    max_size=3,
)
BUDGETS = st.builds(
    Budget, hosts_per_node=st.integers(1, 3), suspects_max=st.integers(1, 3), entities_per_host_max=st.integers(1, 4)
)
REQUESTS = st.builds(
    Request,
    stream=st.just("session:t"),
    avoid=st.sampled_from(["", *NAMES]),
    near=st.sampled_from(["", *NAMES]),
    suspect=st.booleans(),
    node=st.sampled_from(["", *NODES]),
    soon=st.booleans(),
)


def usable(nodes: list[NodeView]) -> dict[str, NodeView]:
    """Return the nodes that may be chosen."""
    return {node.name: node for node in [node for node in nodes if not node.silent] or nodes}


@given(REQUESTS, HOSTS, VIEWS, BUDGETS)
def test_placement_keeps_its_word(request: Request, hosts: list[HostView], nodes: list[NodeView], budget: Budget) -> None:
    choice, able = place(request, hosts, nodes, budget), usable(nodes)
    by_name = {host.name: host for host in hosts}
    own = [host for host in hosts if host.ward == request.suspect and host.name != request.avoid and host.node in able]
    limit = budget.suspects_max if request.suspect else budget.hosts_per_node

    def room(node: str) -> int:
        return limit - sum(host.node == node for host in own) - able[node].coming

    match choice:
        case UseHost(name):
            chosen = by_name[name]
            assert name != request.avoid
            assert chosen.node in able, "the node does not answer, or nobody is to come there"
            assert chosen.load < budget.entities_per_host_max
            if chosen.load:
                assert chosen.ward == request.suspect, "a suspect and a healthy one share a host"
                ready = [
                    node
                    for node, view in able.items()
                    if room(node) > 0 and (view.spares or request.suspect or not request.soon)
                ]
                assert not ready, "shared although there was room for a host of its own"
                assert name == request.near or chosen.load == min(host.load for host in own)
        case TakeSpare(name, node):
            assert name == able[node].spares[0]
            assert room(node) > 0
        case StartNew(node):
            assert room(node) > 0 or (able[node].coming and not own)
            assert not any(able[each].spares and room(each) > 0 for each in able), "started one although one was there"
        case Full():
            assert all(room(node) <= 0 for node in able)
            assert all(host.load >= budget.entities_per_host_max for host in own)


@given(REQUESTS, HOSTS, VIEWS, BUDGETS)
def test_placement_does_not_depend_on_the_order_of_what_it_is_told(
    request: Request, hosts: list[HostView], nodes: list[NodeView], budget: Budget
) -> None:
    assert place(request, hosts, nodes, budget) == place(request, hosts[::-1], nodes[::-1], budget)


@given(st.lists(st.sampled_from(["", *NODES]), min_size=1, max_size=120))
def test_tables_spread_over_nodes_whoever_asks_for_them(askers: list[str]) -> None:
    budget = Budget(hosts_per_node=1_000)
    hosts: list[HostView] = []
    for number, asker in enumerate(askers):
        views = [NodeView(node, (f"{node}-{number}",)) for node in NODES]
        choice = place(Request(f"session:{number}", node=asker), hosts, views, budget)
        assert isinstance(choice, TakeSpare)
        hosts.append(HostView(choice.name, choice.node, 1))
    loads = [sum(host.node == node for host in hosts) for node in NODES]
    assert max(loads) <= AFFINITY_FACTOR * min(loads) + AFFINITY_SLACK + 1


def test_a_table_comes_to_the_node_of_whoever_asks_for_it_first() -> None:
    views = [NodeView(node, (f"{node}-1",)) for node in NODES]
    for node in NODES:
        assert place(Request("session:t", node=node), [], views, Budget()) == TakeSpare(f"{node}-1", node)


def test_nobody_comes_to_a_node_that_does_not_answer_while_another_one_does() -> None:
    silent, well = NodeView("n1", ("a",), silent=True), NodeView("n2", ())
    empty_there = [HostView("h1", "n1", 0)]
    assert place(Request("session:t", node="n1"), empty_there, [silent, well], Budget()) == StartNew("n2")
    assert place(Request("session:t", node="n1"), empty_there, [silent], Budget()) == UseHost("h1")
