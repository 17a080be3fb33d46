"""What a network computes, written out for people."""
