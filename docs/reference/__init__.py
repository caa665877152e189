"""The reference pages, written from the code by `python -m docs.reference`."""
