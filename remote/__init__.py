"""The engine that carries plans to hosts."""
