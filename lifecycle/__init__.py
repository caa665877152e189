"""Changes of hosts, and what the database says of them."""
