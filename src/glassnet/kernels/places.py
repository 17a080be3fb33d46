"""Where the training loop finds its numbers and leaves its counts: what Python writes there and compiled code reads."""

from __future__ import annotations

# The numbers of `sizes`, in this order.
(
    UNROLLED,  # 1 where the kernel is unrolled, 0 where it is tiled
    LANES,
    N_PARAMETERS,  # with gaps, rounded up to whole vectors
    STATE_SIZE,
    N_FEATURES,
    N_OUTPUTS,
    N_HELD,  # held-out rows
    WITH_MEMBERS,  # 1 where networks see some of the rows each
    BATCH_SIZE,
    FIRST_STEP,  # updates that were made before
    LAST_STEP,  # the update to stop after
    N_EPOCHS,
    PATIENCE,  # -1 where nothing is waited for
    N_HIDDEN,
    MASKS_PER_ROW,
    SEEN_SIZE,
    OUTPUTS_SEEN,
    CLASSES,
    BLOCK_ROWS,  # rows that the buffers hold at a time
    HELD_BLOCK_ROWS,
    N_SCALARS,
    WITH_RECORDS,
    WITH_DROPOUT,
    N_ORDER,  # the most rows to shuffle
    ONE_WEIGHT,  # 1 where all rows weigh u[0], and u holds no more
    BUFFERED,  # 1 where a kernel does not read X itself, but what is put into the buffers of it
    PART_ROWS,  # the fewest rows that make a part of a pass, a thread's work
    MOST_GRADIENTS,  # the most parts of a batch, each with a gradient of its own
    N_PIECES,  # of the parameters, for an update
    SHUFFLES,  # how the rows of every epoch come
    FOLLOWED,  # 1 where what every epoch of the call leaves is kept
    PENALTY_PER_WEIGHT,  # 1 where l1 and l2 are divided by the sum of the batch's row weights
    SKIPPED,  # updates of earlier calls that schedule, scalars and records begin with
    FLOAT_FLAGS,  # how floats are treated: 0 or FLUSHED
    FIRST_WEIGHTS,  # numbers that the weights of the first layer take
    FIRST_UNITS,  # and those of one input
    WITH_WHOLE_LOSSES,  # 1 where the losses over all rows at both ends are wanted, which take batches a pass each
    N_LAYERS,
    N_SIZES,
) = range(39)

# That subnormal numbers are read as 0 and written as 0, as x86 has it in its register of such modes.
FLUSHED = 0x8040

# What SHUFFLES may be: shuffled by numbers of our own, in orders that are given, or as they stand in the table.
OWN_SHUFFLES, GIVEN_ORDERS, AS_THEY_STAND = range(3)

# The most parts of a pass; parameters of a piece.
MOST_PARTS, PIECE = 64, 4096

# What CLASSES may be: how the loop tells that all rows get one class.
NO_CLASSES, ONE_OUTPUT, SOFTMAX = range(3)

# A network's row of `counts`, as `runs.Counts` names them.
(
    EPOCHS, STEPS, DIVERGED_AT, FIRST_NONFINITE, STOPPED_EARLY, N_DEAD, DEAD_SINCE, STUCK_SINCE, BEST_EPOCH, CONVERGED,
    N_COUNTS,
) = range(11)  # fmt: skip

# What FIRST_NONFINITE may be, besides 0.
LOSS, PENALTY, GRADIENT, PARAMETERS = range(1, 5)

# An update's row of `records`.
RECORD_LOSS, RECORD_PENALTY, RECORD_SQUARED_NORM, RECORD_NONFINITE, RECORD_HELD_LOSS, N_RECORDED = range(6)

# A network's row of `finals`, likewise.
FINAL_LOSS, BEST_HELD_LOSS, N_FINALS = range(3)

# Which rows of the table a pass goes over: all, a network's own, or those in the order of a shuffle.
ALL, OWN, SHUFFLED = range(3)

# Where the addresses of `chance`, of `loop`, of what lets other threads run, of `zeros` and of one of `buffers` (or 0)
# are among `tools`, behind those of `tiles`; and whether most of the table is 0. Behind them stand 0, 1, 2, ...
(
    SHUFFLE_AT, MASK_AT, HEALTH_AT, MEET_AT, YIELD_AT, PRODUCT_AT, OUTER_AT, TAKE_AT, MOSTLY_ZEROS, N_TOOLS,
) = range(5, 15)  # fmt: skip

DERIVATIVES_ANEW = 2
"""What a kernel is told where derivatives are wanted, and the gradient holds nothing yet; 1 where they are added."""

BLOCK_ROWS_AT_ONCE = 64
"""Rows that go through all layers of a tiled kernel together: few enough that what they leave stays in the nearest
cache."""

ROWS_AHEAD = BLOCK_ROWS_AT_ONCE
"""Numbers of rows that stand behind those of a kernel's rows: which come next, so that they can be fetched early."""

# Of `randomness.Purpose`.
SHUFFLE, DROPOUT = 2, 5
