"""What engine.py is made of: the jobs, those who race, the arithmetic of the figures, the report."""
