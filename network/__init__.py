"""The network of the hosts, as commands: port security, firewall, namespaces, DHCP. Returns data, runs nothing."""
