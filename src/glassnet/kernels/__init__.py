"""The fast ways to compute what `reference` defines."""
