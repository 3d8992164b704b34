"""What the gateway counts, cheap to count and exposed as Prometheus text.

The hot path adds to plain integers; only a scrape turns them into metric families. Each `Metrics` has a registry of its
own, so that several gateways in one process (tests, the simulation) don't share numbers. Label values that clients
choose are bounded: past `KINDS_MAX` op kinds, further ones count as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

KINDS_MAX: Final = 64
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_ITEMS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Outcome: TypeAlias = Literal["accepted", "refused", "repeated", "limited", "unknown"]


class Distribution:
    """Counts of values by upper bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound, as Prometheus has them."""
        out: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            out.append(("+Inf" if bound == float("inf") else str(float(bound)), running))
        return out


class Metrics:
    """One gateway's numbers. The attributes are added to where things happen; `ops_held` and `connections` go both ways."""

    def __init__(self) -> None:
        self.connections = 0
        self.connections_made = 0
        self.connections_refused = 0
        self.frames_in = 0
        self.frames_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.too_slow = 0
        self.events_delivered = 0
        self.link_failures = 0
        self.ops_held = 0
        self.op_latency_s = Distribution(LATENCY_S)
        self.batch_items = Distribution(BATCH_ITEMS)
        self._ops: dict[tuple[str, Outcome], int] = {}
        self._kinds: set[str] = set()
        self._registry = CollectorRegistry()
        self._registry.register(_Exposed(self))

    def op(self, kind: str, outcome: Outcome, latency_s: float) -> None:
        """Count an op that was answered `latency_s` seconds after it came."""
        if kind not in self._kinds:
            if len(self._kinds) < KINDS_MAX and outcome == "accepted":
                self._kinds.add(kind)
            else:
                kind = "other"
        key = (kind, outcome)
        self._ops[key] = self._ops.get(key, 0) + 1
        self.op_latency_s.add(latency_s)

    def ops(self) -> list[tuple[str, Outcome, int]]:
        """Return how many ops there were, by kind and outcome."""
        return [(kind, outcome, count) for (kind, outcome), count in self._ops.items()]

    def text(self) -> bytes:
        """Return everything in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)


class _Exposed(Collector):
    """Turns the numbers into metric families at a scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._of = metrics

    def describe(self) -> Iterable[Metric]:
        return []  # nothing to check for duplicates in a registry of one

    def collect(self) -> Iterable[Metric]:
        of = self._of
        yield GaugeMetricFamily("undying_connections", "Clients connected now.", of.connections)
        yield GaugeMetricFamily("undying_ops_held", "Ops held for entities that are being brought back.", of.ops_held)
        for name, help_text, value in (
            ("undying_connections_made", "Clients that connected.", of.connections_made),
            ("undying_connections_refused", "Handshakes refused.", of.connections_refused),
            ("undying_frames_received", "Messages from clients.", of.frames_in),
            ("undying_frames_sent", "Frames to clients.", of.frames_out),
            ("undying_bytes_received", "Bytes in messages from clients.", of.bytes_in),
            ("undying_bytes_sent", "Bytes in frames to clients.", of.bytes_out),
            ("undying_too_slow", "Connections ended because their client did not read.", of.too_slow),
            ("undying_events_delivered", "Events written, counted once per client.", of.events_delivered),
            ("undying_link_failures", "Batches to a host that failed or got lost.", of.link_failures),
        ):
            yield CounterMetricFamily(name, help_text, value)
        ops = CounterMetricFamily("undying_ops", "Ops answered.", labels=("kind", "outcome"))
        for kind, outcome, count in of.ops():
            ops.add_metric((kind, outcome), count)
        yield ops
        for name, help_text, values in (
            ("undying_op_latency_seconds", "From an op's arrival to its ack.", of.op_latency_s),
            ("undying_batch_items", "Items in a batch to a host.", of.batch_items),
        ):
            yield HistogramMetricFamily(name, help_text, values.buckets(), values.total)
