"""All scenarios, in the order they are played."""

from scripts.chaos import scenarios_clients, scenarios_network, scenarios_server, scenarios_workers
from scripts.chaos.stage import SCENARIOS

__all__ = ["SCENARIOS", "scenarios_clients", "scenarios_network", "scenarios_server", "scenarios_workers"]
