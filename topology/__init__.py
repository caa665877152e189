"""Slice files: what a student writes, keeps and shares. Pure: no host, no database."""
