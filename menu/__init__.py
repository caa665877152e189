"""Ask, show, draw progress, and connect consoles. The menu knows the use-cases and no host."""
