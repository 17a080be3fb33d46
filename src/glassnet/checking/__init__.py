"""Is a learner's own backpropagation right, and if not, what is wrong? Start reading at `protocol`."""
