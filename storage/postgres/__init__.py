"""A store in a PostgreSQL database: a row per piece, claims as advisory locks (docs/decisions/postgresql.md)."""
