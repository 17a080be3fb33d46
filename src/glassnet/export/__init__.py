"""A model as a program in another language."""
