"""All scenarios by name, in the order they are played."""

from scripts.chaos import scenarios_clients, scenarios_groups, scenarios_network, scenarios_server, scenarios_workers
from scripts.chaos.stage import SCENARIOS as REGISTERED

ORDER = (scenarios_workers, scenarios_server, scenarios_network, scenarios_groups, scenarios_clients)

SCENARIOS = {
    name: one for module in ORDER for name, one in REGISTERED.items() if one.play.__module__ == module.__name__
}
