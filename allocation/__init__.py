"""What is given out never twice, and where: holdings, ids, placement."""
