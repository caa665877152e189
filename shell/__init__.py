"""The scripts that hosts run (`*.sh`, by area), and the modules that make their words."""
