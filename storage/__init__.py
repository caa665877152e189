"""The parts of `database.py`: layout, rules between records, locks and atomic replacement."""
