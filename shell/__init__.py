"""What hosts run: scripts and the functions that they share."""
