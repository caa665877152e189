"""The wire, as commands: port security, firewall, namespaces, DHCP. Returns data, runs nothing."""
