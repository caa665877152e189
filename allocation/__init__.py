"""Allocation of ids, VNC ports, internet addresses and workers; a link gets its VLAN in `models.py`."""
