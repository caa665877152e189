"""Changes of hosts, and their record in the database."""
