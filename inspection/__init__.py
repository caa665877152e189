"""Compare the hosts with the database: facts, findings, orphans, and the proof of isolation."""
