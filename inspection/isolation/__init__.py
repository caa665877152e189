"""The proof of isolation: probes, their answers, and the verdict."""
