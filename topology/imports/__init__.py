"""Topologies of other tools, read as data: nodes, links, segments, internet and sizes become a design."""
