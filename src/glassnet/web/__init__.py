"""`glassnet play`: a local page on which a whole training runs anew while a slider moves."""
