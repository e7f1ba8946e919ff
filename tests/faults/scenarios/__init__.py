"""The scenarios of the lab, by what the fault does to: processes, the network, resources."""

from tests.faults.lab import SCENARIOS
from tests.faults.scenarios import network, process, resources

# Importing them has put their scenarios there.
__all__ = ["SCENARIOS", "network", "process", "resources"]
