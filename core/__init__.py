"""Values that everything may use: errors, inventory, names, passwords."""
