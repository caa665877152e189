"""An embedded cloud in Linux namespaces of one machine: workers, a network node, an internet and a manager."""

from lab.cloud import Lab, NodeStatus
from lab.console import GuestConsole
from lab.errors import LabError

__all__ = ["GuestConsole", "Lab", "LabError", "NodeStatus"]
