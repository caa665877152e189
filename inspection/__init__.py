"""What is really there on the hosts, compared with what the database says: drift, orphans, isolation."""
