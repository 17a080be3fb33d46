"""What a network computes, computed again in other ways, and held against one another."""
