"""Allocation of exclusive resources and of workers: holdings, ids, placement."""
