"""The programs of the tree: the root and its supervisors."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Final

from actors.runtime import Inside
from supervision.entities import EntitySettings, EntitySupervisor
from supervision.gateways import GatewaysSettings, GatewaysSupervisor
from supervision.heartbeat import Heartbeat
from supervision.hosts import HostsSettings, HostsSupervisor
from supervision.placement import Budget
from supervision.reporting import TRACKER
from supervision.root import SUPERVISORS, RootSupervisor, supervisor_specs
from undying.cli.settings import ServeSettings
from undying.cli.wiring.environment import read_settings, ways
from undying.cli.wiring.tracker import teller
from undying.protocol.data import JsonObject
from undying.protocol.ids import Kind

ENTITIES_PER_HOST_MAX: Final = 20_000
"""Entities that one shared host takes: their cost there is their state, not a process."""


def build_root(settings: JsonObject, inside: Inside) -> RootSupervisor:
    """Build the program `root`: the same settings for every supervisor."""
    serve = read_settings(settings, inside)
    programs = [*SUPERVISORS.values(), TRACKER]
    specs = supervisor_specs({program: serve.to_plain() for program in programs}, heartbeat=_heartbeat(serve))
    return RootSupervisor(specs, inside, random.Random(), time.monotonic, _end, teller(inside))


def build_hosts(settings: JsonObject, inside: Inside) -> HostsSupervisor:
    """Build the program `hosts`."""
    serve = read_settings(settings, inside)
    budget = Budget(hosts_per_node=serve.actors_per_node, entities_per_host_max=ENTITIES_PER_HOST_MAX)
    hosts = HostsSettings(serve.spares, budget, settings, heartbeat=_heartbeat(serve))
    return HostsSupervisor(hosts, inside, random.Random(), teller(inside), ways(serve, inside))


def build_gateways(settings: JsonObject, inside: Inside) -> GatewaysSupervisor:
    """Build the program `gateways`."""
    serve = read_settings(settings, inside)
    gateways = GatewaysSettings(serve.gateways, settings, heartbeat=_heartbeat(serve))
    return GatewaysSupervisor(gateways, inside, random.Random(), time.monotonic, teller(inside))


def build_sessions(settings: JsonObject, inside: Inside) -> EntitySupervisor:
    """Build the program `sessions`."""
    return _entities(Kind.SESSION, settings, inside)


def build_characters(settings: JsonObject, inside: Inside) -> EntitySupervisor:
    """Build the program `characters`."""
    return _entities(Kind.CHARACTER, settings, inside)


def build_providers(settings: JsonObject, inside: Inside) -> EntitySupervisor:
    """Build the program `providers`."""
    return _entities(Kind.PROVIDER, settings, inside)


def _entities(kind: Kind, settings: JsonObject, inside: Inside) -> EntitySupervisor:
    serve = read_settings(settings, inside)
    rng, direct = random.Random(), ways(serve, inside)
    return EntitySupervisor(kind, EntitySettings(), inside, rng, time.monotonic, teller(inside), direct)


def _end() -> None:
    """End this process as a crash would, after which the runtime starts the root again."""
    os.kill(os.getpid(), signal.SIGKILL)


def _heartbeat(serve: ServeSettings) -> Heartbeat:
    return Heartbeat(every_s=serve.hang_s / 5, silent_s=serve.hang_s, memory_bytes_max=serve.memory_mb << 20)
