"""What a scrape sees."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import KINDS_MAX, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(each.name, *sorted(each.labels.values())): each.value for family in families for each in family.samples}


def test_plain_numbers_show_under_their_names() -> None:
    metrics = Metrics()
    metrics.connections, metrics.events_delivered, metrics.ops_held = 3, 70, 2
    seen = samples(metrics)
    assert seen[("undying_connections",)] == 3
    assert seen[("undying_events_delivered_total",)] == 70
    assert seen[("undying_ops_held",)] == 2


def test_ops_are_counted_by_kind_and_outcome_and_timed() -> None:
    metrics = Metrics()
    metrics.op("chat.say", "accepted", 0.001)
    metrics.op("chat.say", "refused", 0.3)
    metrics.op("chat.say", "accepted", 60)
    seen = samples(metrics)
    assert seen[("undying_ops_total", "accepted", "chat.say")] == 2
    assert seen[("undying_ops_total", "chat.say", "refused")] == 1
    assert seen[("undying_op_latency_seconds_bucket", "0.001")] == 1
    assert seen[("undying_op_latency_seconds_bucket", "0.5")] == 2
    assert seen[("undying_op_latency_seconds_bucket", "+Inf")] == 3
    assert seen[("undying_op_latency_seconds_count",)] == 3
    assert seen[("undying_op_latency_seconds_sum",)] == 60.301


def test_clients_can_not_make_up_labels() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.op(f"made.up.{number}", "refused", 0.001)
    assert metrics.ops() == [("other", "refused", 1000)]
    for number in range(1000):
        metrics.op(f"real.{number}", "accepted", 0.001)
    assert len({kind for kind, _, _ in metrics.ops()}) == KINDS_MAX + 1


def test_two_gateways_of_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.connections = 1
    assert samples(second)[("undying_connections",)] == 0
