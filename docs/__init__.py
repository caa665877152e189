"""The documentation: pages for readers, and `docs.reference`, which writes the reference pages from the code."""
