"""An embedded cloud: workers, a network node, an internet and a manager in Linux namespaces of one machine."""

from lab.cloud import Lab, NodeStatus
from lab.console import GuestConsole
from lab.errors import LabError

__all__ = ["GuestConsole", "Lab", "LabError", "NodeStatus"]
