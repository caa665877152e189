"""The scripts that hosts run (`*.sh`, by area), and the modules that make their words.

A script runs as root unless its `Command` has `as_user`; docs/security.md lists the programs that run as root.
"""
