"""What `database.py` is made of: layout, rules between records, locks and atomic replacement."""
