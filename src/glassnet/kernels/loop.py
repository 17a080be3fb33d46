"""The training loop that every kernel runs in: batches, passes, updates, records, until the last epoch or a bad end.

Compiled once for each dtype, whatever the network: the kernels of a network and of an optimiser come as addresses. It
trains networks one after the other, each by itself, so that a network's numbers do not depend on its company; threads
take some of the networks each. It looks at `stop[0]` before every batch.

A single network is trained by a team: every thread of it runs the same loop, takes every team-th part of a batch and
its share of the parameters' pieces, and waits for the others (`meet`) before it looks at what they made. The parts and
pieces, and the order of sums over them, follow from the job alone; so the bits do not depend on how many threads there
are. What others read is in `common`, `sums` and `meeting`; all else a thread has for itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet.kernels.lanes import (
    arrive,
    arrived,
    call,
    copy,
    float_mode,
    give_way,
    is_finite,
    quotient,
    set_float_mode,
    several,
    shifted,
    sqrt,
)
from glassnet.kernels.places import (
    ALL,
    AS_THEY_STAND,
    BATCH_SIZE,
    BEST_EPOCH,
    BEST_HELD_LOSS,
    BLOCK_ROWS,
    BUFFERED,
    CLASSES,
    DEAD_SINCE,
    DERIVATIVES_ANEW,
    DIVERGED_AT,
    EPOCHS,
    FINAL_LOSS,
    FIRST_NONFINITE,
    FIRST_STEP,
    FIRST_UNITS,
    FIRST_WEIGHTS,
    FLOAT_FLAGS,
    FOLLOWED,
    GIVEN_ORDERS,
    GRADIENT,
    HEALTH_AT,
    HELD_BLOCK_ROWS,
    LANES,
    LAST_STEP,
    LOSS,
    MASK_AT,
    MASKS_PER_ROW,
    MEET_AT,
    MOST_GRADIENTS,
    MOST_PARTS,
    MOSTLY_ZEROS,
    N_COUNTS,
    N_DEAD,
    N_EPOCHS,
    N_FEATURES,
    N_FINALS,
    N_HELD,
    N_HIDDEN,
    N_LAYERS,
    N_ORDER,
    N_OUTPUTS,
    N_PARAMETERS,
    N_PIECES,
    N_RECORDED,
    N_SCALARS,
    NO_CLASSES,
    ONE_OUTPUT,
    ONE_WEIGHT,
    OUTPUTS_SEEN,
    OWN,
    PARAMETERS,
    PART_ROWS,
    PATIENCE,
    PENALTY,
    PENALTY_PER_WEIGHT,
    PIECE,
    RECORD_HELD_LOSS,
    RECORD_LOSS,
    RECORD_NONFINITE,
    RECORD_PENALTY,
    RECORD_SQUARED_NORM,
    ROWS_AHEAD,
    SEEN_SIZE,
    SHUFFLE_AT,
    SHUFFLED,
    SHUFFLES,
    SKIPPED,
    SOFTMAX,
    STATE_SIZE,
    STEPS,
    STOPPED_EARLY,
    STUCK_SINCE,
    TAKE_AT,
    UNROLLED,
    WITH_DROPOUT,
    WITH_MEMBERS,
    WITH_RECORDS,
    WITH_WHOLE_LOSSES,
    YIELD_AT,
)


def _padded(n: Any, lanes: Any) -> Any:
    """A number of rows, rounded up to whole vectors and tiles: powers of two, for a division takes long."""
    pad = max(lanes, 8)
    return (n + pad - 1) & -pad


def _take(
    tools: Any, sizes: Any, data: Any, members: Any, order: Any, which: Any, first: Any, n: Any, alike: Any, block: Any,
    stride: Any, later: Any, n_later: Any, n_all: Any,
) -> Any:  # fmt: skip
    """Rows `first` to `first + n` into the buffers; returns the sum of their weights.

    `which`: of all rows (ALL), of a network's own (OWN), or of those in `order` (SHUFFLED). The buffers are filled up
    to whole vectors with the last row, which weighs nothing there. `table` is filled for unrolled kernels, column by
    column, and where kernels do not read X as it is; `rows` are then rows of it. Behind the rows stand `n_later` of
    those from `later` on, which will be wanted next, where there are as many as `n_all`.
    """
    X, y, u = data
    rows, targets, weights, table, _ = block
    n_in, n_out, with_members = sizes[N_FEATURES], sizes[N_OUTPUTS], sizes[WITH_MEMBERS]
    padded = _padded(n, sizes[LANES])
    for part in range(2):  # these rows, and those that come next
        place, start, count = part * padded, first + part * (later - first), n + part * (n_later - n)
        _number_rows(shifted(rows, place), members, order, which, with_members, start, count, n_all)
    for r in range(n, padded):
        rows[r] = rows[n - 1]
    total = 0.0
    if alike:
        weight = u[0 if sizes[ONE_WEIGHT] else rows[0]]
        for r in range(n):
            weights[r] = weight
        total = n * np.float64(weight)
    else:
        for r in range(n):
            weights[r] = u[rows[r]]
            total += u[rows[r]]
    for r in range(n, padded):
        weights[r] = 0
    for k in range(n_out):
        for r in range(padded):
            targets[k * stride + r] = y[rows[r] * n_out + k]
    if tools[TAKE_AT] != 0:
        call(tools[TAKE_AT], (X, rows, table, padded, n_in, sizes[UNROLLED], stride))
    elif sizes[UNROLLED]:
        for i in range(n_in):
            for r in range(padded):
                table[i * stride + r] = X[rows[r] * n_in + i]
    return total


def _number_rows(
    rows: Any, members: Any, order: Any, which: Any, with_members: Any, first: Any, n: Any, n_all: Any
) -> None:
    """The numbers of n rows from the one at place `first` on; of the last, where there are no more."""
    last = n_all - 1
    if which == SHUFFLED and with_members:
        for r in range(n):
            rows[r] = members[order[min(first + r, last)]]
    elif which == SHUFFLED:
        for r in range(n):
            rows[r] = order[min(first + r, last)]
    elif which == OWN and with_members:
        for r in range(n):
            rows[r] = members[min(first + r, last)]
    else:
        for r in range(n):
            rows[r] = min(first + r, last)


def _nothing_seen(sizes: Any, seen: Any) -> None:
    for place in range(sizes[SEEN_SIZE]):
        seen[place] = 0 if place < sizes[OUTPUTS_SEEN] else -np.inf


def note_health(sizes: Any, hidden: Any, epoch: Any, seen: Any, count: Any) -> Any:
    """From what the passes over all rows have `seen`: since when a unit has been dead, or all rows got one class."""
    n_dead, n_hidden, outputs = 0, sizes[N_HIDDEN], sizes[OUTPUTS_SEEN]
    for h in range(n_hidden):
        if seen[hidden[h] + hidden[2 * n_hidden + h]] == 0:
            n_dead += 1
    one_class = False
    if sizes[CLASSES] == ONE_OUTPUT:
        one_class = seen[outputs] <= 0 or seen[outputs + 1] < 0
    elif sizes[CLASSES] == SOFTMAX:
        for k in range(sizes[N_OUTPUTS]):
            one_class = one_class or seen[outputs + k] == 0
    count[N_DEAD] = n_dead
    if n_dead == 0:
        count[DEAD_SINCE] = -1
    elif count[DEAD_SINCE] < 0:
        count[DEAD_SINCE] = epoch
    if not one_class:
        count[STUCK_SINCE] = -1
    elif count[STUCK_SINCE] < 0:
        count[STUCK_SINCE] = epoch
    return 0.0


def _part_rows(sizes: Any, n: Any, derivatives: Any) -> Any:
    """How many of n rows make a part, what a thread does at a time, with a gradient of its own.

    There are 1, 2, 4, ... parts of one size, so that 2, 4, ... threads have as much to do.
    """
    most = sizes[MOST_GRADIENTS] if derivatives else MOST_PARTS
    halvings = 0
    while 2 << halvings <= most and sizes[PART_ROWS] * (2 << halvings) <= n:
        halvings += 1
    # Whole tiles of a product's rows.
    return _padded((n + (1 << halvings) - 1) >> halvings, 8)


def _n_parts(n: Any, part_rows: Any) -> Any:
    """How many parts n rows have."""
    n_parts = 1
    if n > part_rows:
        n_parts = (n + part_rows - 1) // part_rows
    return n_parts


def meet(meeting: Any, team: Any, yield_at: Any) -> Any:
    """Wait until all threads of a team are here; what they wrote before can be read afterwards."""
    all_here = (arrive(meeting) // team + 1) * team
    waits = 0
    while arrived(meeting) < all_here:
        waits += 1
        if waits > _PATIENT_WAITS and yield_at != 0:
            give_way(yield_at)
    return 0.0


# Looks at the others, some microseconds, before the processor is offered to whoever needs it.
_PATIENT_WAITS = 4000


def _without_subnormals(sizes: Any, place: Any) -> Any:
    """Have subnormal numbers be 0, where that is wanted; returns the mode to be put back, whatever `place` points at.

    With such numbers some processors take a hundred times as long. A state that decays comes to them, and so do powers
    of exp(-|o|) in the logarithm of the loss, where a network has become sure of its rows.
    """
    mode = float_mode(place)
    set_float_mode(mode, sizes[FLOAT_FLAGS])
    return mode


def run_pass(
    kernel: Any, tools: Any, sizes: Any, X: Any, y: Any, u: Any, members: Any, order: Any, which: Any, first: Any,
    n: Any, taken: Any, rows: Any, targets: Any, weights: Any, table: Any, masks: Any, stride: Any, dropout: Any,
    hidden: Any, seed: Any, network: Any, epoch: Any, vector: Any, alike: Any, derivatives: Any, gradients: Any,
    work: Any, seen: Any, sums: Any, total_weight: Any, n_all: Any, meeting: Any, me: Any, team: Any,
) -> Any:  # fmt: skip
    """The sum over n rows of weight times loss; total_weight[0]: of weights.

    With `derivatives` every part of the rows leaves the sum of its own in one of `gradients`. `taken` is the sum of the
    weights where the buffers hold these very rows already, else negative.
    """
    mode = _without_subnormals(sizes, sums)
    lanes, n_parameters = sizes[LANES], sizes[N_PARAMETERS]
    data, block = (X, y, u), (rows, targets, weights, table, masks)
    part_rows = _part_rows(sizes, n, derivatives)
    n_parts = _n_parts(n, part_rows)
    part = me
    while part < n_parts:  # a range of such a step could raise
        loss = total = 0.0
        gradient = shifted(gradients, part * n_parameters if derivatives else 0)
        if derivatives and sizes[UNROLLED]:
            for p in range(n_parameters):
                gradient[p] = 0
        start, end = part * part_rows, min((part + 1) * part_rows, n)
        while start < end:
            size = min(stride, end - start)
            if taken < 0:
                later = start + size + ((team - 1) * part_rows if start + size == end else 0)
                total += _take(
                    tools, sizes, data, members, order, which, first + start, size, alike, block, stride, first + later,
                    ROWS_AHEAD if tools[MOSTLY_ZEROS] else 0, n_all,
                )  # fmt: skip
            else:
                total = taken
            padded = _padded(size, lanes)
            if sizes[WITH_DROPOUT]:
                if derivatives:
                    call(
                        tools[MASK_AT],
                        (
                            sizes[N_HIDDEN], dropout, hidden, seed, network, epoch, order, which, first + start, size,
                            padded, masks, stride,
                        ),
                    )  # fmt: skip
                else:
                    for place in range(sizes[MASKS_PER_ROW] * stride):
                        masks[place] = 1
            loss += call(
                kernel,
                (
                    vector, table if sizes[BUFFERED] else X, targets, weights, masks, rows, padded,
                    size, stride, alike, DERIVATIVES_ANEW if derivatives and start == part * part_rows else derivatives,
                    gradient, work, seen, tools,
                ),
            )  # fmt: skip
            start += stride
        sums[part], sums[MOST_PARTS + part] = loss, total
        part += team
    if team > 1:
        call(tools[MEET_AT], (meeting, team, tools[YIELD_AT]))
    loss = total = 0.0
    for part in range(n_parts):
        loss += sums[part]
        total += sums[MOST_PARTS + part]
    total_weight[0] = total
    set_float_mode(mode, 0)
    return loss


def _seen_room(sizes: Any) -> Any:
    """What is seen, and a vector more that a kernel may write beyond it."""
    return (sizes[SEEN_SIZE] + 2 * sizes[LANES] - 1) & -sizes[LANES]


def _all_seen(sizes: Any, seen: Any, team: Any) -> None:
    """What the other threads have seen, to what the first has."""
    size = _seen_room(sizes)
    for other in range(1, team):
        for place in range(sizes[SEEN_SIZE]):
            if seen[other * size + place] > seen[place]:
                seen[place] = seen[other * size + place]


def _is_bounded(sizes: Any, u: Any, parameters: Any, row_norm: Any, l1: Any, l2: Any) -> Any:
    """Whether neither a row's loss can be infinite, whatever the row, nor the penalty: no pass need be made to see it.

    Known of rows that all weigh 1, and of the cross-entropy of classes or of a single output, which is at most about
    the logits it is of. The Euclidean norm of a layer's z is at most |W| |a| + |b|, and W and b are no larger than all
    parameters together; an activation makes at most 2 |z| + 2 sqrt(units) of it.
    """
    squares = 0.0
    for p in range(sizes[N_PARAMETERS]):
        squares += parameters[p] * parameters[p]
    norm, size, most = sqrt(squares), row_norm, l1 + l2
    for _ in range(sizes[N_LAYERS]):
        size = norm * (2 * size + 2 * sqrt(1.0 * sizes[N_PARAMETERS]) + 1)
        most = max(size, most)  # the first stays where it is NaN
    weigh_1 = sizes[ONE_WEIGHT] and u[0] == 1
    return weigh_1 and sizes[CLASSES] != NO_CLASSES and most < _FAR_FROM_INFINITE


# Its cube is finite in float32, and so is what an activation multiplies z with.
_FAR_FROM_INFINITE = 1e12


def train(
    pass_at: Any, kernel: Any, update: Any, tools: Any, sizes: Any,  # what is run, and its measures: see `places`
    X: Any, y: Any, u: Any, held_X: Any, held_y: Any, held_u: Any,  # rows, their targets and weights; held-out ones
    members: Any, begins: Any, subsets: Any,  # which rows are whose
    vectors: Any, states: Any, best: Any, kinds: Any,  # parameters, and what belongs to them
    numbers: Any, seeds: Any, rates: Any, l1: Any, l2: Any,  # one for each network
    schedule: Any, scalars: Any, dropout: Any, hidden: Any,  # for each update; for each hidden unit
    least_gain: Any, loss_scale: Any, row_norm: Any,
    orders: Any,  # (epochs of this call, n), where they are given
    objectives: Any, snapshots: Any,  # of every epoch, where it is followed
    losses: Any, held_losses: Any, finals: Any, counts: Any, records: Any, stop: Any,  # what comes of it
    room: Any, whole_room: Any, total_weight: Any,  # for numbers, for whole numbers, for one
    common: Any, sums: Any, meeting: Any, me: Any, team: Any,  # what the threads of a team share; which one this is
    first: Any, last: Any,
) -> Any:  # fmt: skip
    """Train networks `first` to `last` - 1, from update FIRST_STEP on, until LAST_STEP are made."""
    P, lanes, n_held = sizes[N_PARAMETERS], sizes[LANES], sizes[N_HELD]
    stride, held_stride = sizes[BLOCK_ROWS], sizes[HELD_BLOCK_ROWS]
    n_in, n_out = sizes[N_FEATURES] if sizes[BUFFERED] else 0, sizes[N_OUTPUTS]
    masks_per_row = sizes[MASKS_PER_ROW] if sizes[WITH_DROPOUT] else 0

    rows, held_rows = whole_room, shifted(whole_room, stride + ROWS_AHEAD)
    order = shifted(held_rows, held_stride + ROWS_AHEAD)
    keys = shifted(order, sizes[N_ORDER])
    found_keys = shifted(keys, sizes[N_ORDER] + 1)
    buckets = shifted(found_keys, sizes[N_ORDER])

    targets = room
    weights = shifted(targets, n_out * stride)
    table = shifted(weights, stride)
    masks = shifted(table, n_in * stride)
    held_targets = shifted(masks, masks_per_row * stride + lanes)
    held_weights = shifted(held_targets, n_out * held_stride)
    held_table = shifted(held_weights, held_stride)
    held_masks = shifted(held_table, n_in * held_stride)
    unseen = shifted(held_masks, masks_per_row * held_stride + lanes)
    work = shifted(unseen, _seen_room(sizes))

    # The parameters before the last update, now and after the next one lie in a ring.
    ring = common
    begun = shifted(ring, 3 * (P + lanes))  # what they were when the epoch began
    found = shifted(begun, P + lanes)
    all_seen = shifted(found, sizes[N_PIECES] * lanes)
    seen = shifted(all_seen, me * _seen_room(sizes))
    gradients = shifted(all_seen, team * _seen_room(sizes))
    held_sums, whole_sums = shifted(sums, 2 * MOST_PARTS), shifted(sums, 4 * MOST_PARTS)
    yield_at = tools[YIELD_AT]
    held_alike = 1  # whether all held-out rows weigh the same
    for r in range(1, 0 if sizes[ONE_WEIGHT] else n_held):
        if held_u[r] != held_u[0]:
            held_alike = 0

    mode = _without_subnormals(sizes, stop)
    n_epochs = sizes[N_EPOCHS]
    taken = held_taken = -1.0
    for s in range(first, last):
        begin = begins[subsets[s]]
        n = begins[subsets[s] + 1] - begin
        own = shifted(members, begin if sizes[WITH_MEMBERS] else 0)
        seed, network = seeds[s], numbers[s]
        batch = min(sizes[BATCH_SIZE], n)
        n_batches = (n + batch - 1) // batch
        which = SHUFFLED if n_batches > 1 and sizes[SHUFFLES] != AS_THEY_STAND else OWN
        vector, count = shifted(vectors, s * P), shifted(counts, s * N_COUNTS)
        loss_of = shifted(losses, s * (n_epochs + 1))
        held_loss_of = shifted(held_losses, s * (n_epochs + 1))
        final = shifted(finals, s * N_FINALS)
        alike = 1  # whether all its rows weigh the same
        for r in range(1, 0 if sizes[ONE_WEIGHT] else n):
            if u[own[r] if sizes[WITH_MEMBERS] else r] != u[own[0] if sizes[WITH_MEMBERS] else 0]:
                alike = 0
        now = 0
        if me == 0:
            copy(ring, vector, P)
            meeting[1] = stop[0]
        if team > 1:
            call(tools[MEET_AT], (meeting, team, yield_at))
        stopped = meeting[1]
        if sizes[WITH_MEMBERS]:
            taken = -1.0  # else the buffers hold the rows of the network before, which are the same
        step = sizes[FIRST_STEP]
        first_epoch = step // n_batches + 1
        if step == 0 and sizes[FOLLOWED] == 0:
            if n_held:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, held_X, held_y, held_u, own, order, ALL, 0, n_held, held_taken, held_rows,
                        held_targets, held_weights, held_table, held_masks, held_stride, dropout, hidden, seed,
                        network, 0, ring, held_alike, 0, gradients, work, unseen, held_sums, total_weight, n_held,
                        meeting, me, team,
                    ),
                )  # fmt: skip
                held_loss_of[0] = final[BEST_HELD_LOSS] = quotient(loss, total_weight[0])
                if me == 0:
                    copy(shifted(best, s * P), vector, P)
            if n_batches > 1 and sizes[WITH_WHOLE_LOSSES]:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, OWN, 0, n, -1.0, rows, targets, weights, table,
                        masks, stride, dropout, hidden, seed, network, 0, ring, alike, 0, gradients, work, unseen,
                        whole_sums, total_weight, n, meeting, me, team,
                    ),
                )  # fmt: skip
                loss_of[0] = quotient(loss, total_weight[0])
        last_step = min(sizes[LAST_STEP], n_epochs * n_batches)
        made, skipped = 0, sizes[SKIPPED]  # updates in this call, and of those before
        going = True
        while going and step < last_step:
            epoch = step // n_batches + 1
            _nothing_seen(sizes, seen)
            if me == 0:
                copy(begun, shifted(ring, now * (P + lanes)), P)
            if n_batches > 1 and sizes[SHUFFLES] == GIVEN_ORDERS:
                order = shifted(orders, (epoch - first_epoch) * n)
            elif n_batches > 1 and sizes[SHUFFLES] != AS_THEY_STAND:
                call(tools[SHUFFLE_AT], (n, seed, network, epoch, order, keys, found_keys, buckets))
            epoch_loss = epoch_total = epoch_objective = 0.0
            for b in range(step % n_batches, n_batches):
                if stopped or step == last_step:
                    going = False
                    break
                current = shifted(ring, now * (P + lanes))
                after = shifted(ring, (now + 1) % 3 * (P + lanes))
                n_rows = min(batch, n - b * batch)
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, which, b * batch, n_rows,
                        taken, rows, targets, weights, table, masks, stride, dropout, hidden, seed, network, epoch,
                        current, alike, 1, gradients, work, seen, sums, total_weight, n, meeting, me, team,
                    ),
                )  # fmt: skip
                total = total_weight[0]
                part_rows = _part_rows(sizes, n_rows, 1)
                n_parts = _n_parts(n_rows, part_rows)
                if n_batches == 1 and n <= stride and n <= part_rows:
                    taken = total
                epoch_loss += loss
                epoch_total += total
                loss = quotient(loss, total)
                penalty_scale = 1.0
                if sizes[PENALTY_PER_WEIGHT]:
                    penalty_scale = 1 / total if total > 0 else 0.0
                if me == 0:
                    meeting[1] = stop[0]
                    if b == n_batches - 1:
                        _all_seen(sizes, seen, team)
                # Side by side: beyond a piece's end a processor fetches what is another thread's, which waits for it.
                for piece in range(sizes[N_PIECES] * me // team, sizes[N_PIECES] * (me + 1) // team):
                    at = piece * PIECE
                    kinds_at = at
                    if at > 0 and at + PIECE <= sizes[FIRST_WEIGHTS]:
                        kinds_at = at % sizes[FIRST_UNITS]  # the same kinds, in a near cache
                    call(
                        update,
                        (
                            shifted(current, at), shifted(after, at), shifted(gradients, at),
                            shifted(states, s * sizes[STATE_SIZE] + at), shifted(kinds, kinds_at),
                            shifted(scalars, (skipped + made) * sizes[N_SCALARS]), rates[s] * schedule[skipped + made],
                            loss_scale / total if total > 0 else 0.0, l1[s] * penalty_scale, l2[s] * penalty_scale,
                            min(PIECE, P - at), P,
                            n_parts, shifted(found, piece * lanes),
                        ),
                    )  # fmt: skip
                if team > 1:
                    call(tools[MEET_AT], (meeting, team, yield_at))
                stopped = meeting[1]
                penalty = squared_norm = bad_gradient = bad_parameters = 0.0
                for piece in range(sizes[N_PIECES]):
                    penalty += found[piece * lanes]
                    squared_norm += found[piece * lanes + 1]
                    bad_gradient += found[piece * lanes + 2]
                    bad_parameters += found[piece * lanes + 3]
                bad = 0
                if not is_finite(loss):
                    bad = LOSS
                elif not is_finite(penalty):
                    bad = PENALTY
                elif not is_finite(bad_gradient):
                    bad = GRADIENT
                elif not is_finite(bad_parameters):
                    bad = PARAMETERS
                if sizes[WITH_RECORDS]:
                    record = shifted(records, (skipped + made) * N_RECORDED)
                    record[RECORD_LOSS], record[RECORD_PENALTY] = loss * loss_scale, penalty
                    record[RECORD_SQUARED_NORM], record[RECORD_NONFINITE] = squared_norm, bad
                step += 1
                made += 1
                if n_batches == 1 and (bad == 0 or bad > PENALTY):
                    loss_of[epoch - 1] = loss
                    call(tools[HEALTH_AT], (sizes, hidden, epoch - 1, seen, count))
                if bad:
                    count[DIVERGED_AT], count[FIRST_NONFINITE] = step, bad
                    step -= 1
                    if bad <= PENALTY and made > 1:
                        # An infinite loss is the doing of the update before, which is taken back.
                        now = (now + 2) % 3
                        step -= 1
                    going = False
                    break
                epoch_objective += n_rows * (loss * loss_scale + penalty)
                now = (now + 1) % 3
            if not going:
                break
            current = shifted(ring, now * (P + lanes))
            if sizes[FOLLOWED]:
                objectives[epoch - first_epoch] = epoch_objective / n
                if me == 0:
                    copy(shifted(snapshots, (epoch - first_epoch) * P), current, P)
            if n_batches > 1:
                loss_of[epoch] = quotient(epoch_loss, epoch_total)
                call(tools[HEALTH_AT], (sizes, hidden, epoch, seen, count))
            if n_held:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, held_X, held_y, held_u, own, order, ALL, 0, n_held, held_taken, held_rows,
                        held_targets, held_weights, held_table, held_masks, held_stride, dropout, hidden, seed,
                        network, 0, current, held_alike, 0, gradients, work, unseen, held_sums, total_weight, n_held,
                        meeting, me, team,
                    ),
                )  # fmt: skip
                if n_held <= held_stride and n_held <= _part_rows(sizes, n_held, 0):
                    held_taken = total_weight[0]
                loss = quotient(loss, total_weight[0])
                held_loss_of[epoch] = loss
                if sizes[WITH_RECORDS]:
                    records[(skipped + made - 1) * N_RECORDED + RECORD_HELD_LOSS] = loss
                best_loss = final[BEST_HELD_LOSS]
                if loss < best_loss - least_gain or (best_loss != best_loss and loss == loss):
                    final[BEST_HELD_LOSS] = loss
                    count[BEST_EPOCH] = epoch
                    if me == 0:
                        copy(shifted(best, s * P), current, P)
                elif sizes[PATIENCE] >= 0 and epoch - count[BEST_EPOCH] >= sizes[PATIENCE]:
                    count[STOPPED_EARLY] = 1
                    going = False
        count[STEPS] = step
        count[EPOCHS] = step // n_batches
        current = shifted(ring, now * (P + lanes))
        looks_back = step == n_epochs * n_batches or count[DIVERGED_AT] >= 0 or count[STOPPED_EARLY] or stopped
        keeps_best = sizes[PATIENCE] >= 0 and n_held > 0 and stopped == 0
        if sizes[WITH_WHOLE_LOSSES] == 0 and n_batches > 1 and not keeps_best:
            looks_back = looks_back and not _is_bounded(sizes, u, current, row_norm, l1[s], l2[s])
        if looks_back:
            for attempt in range(-1 if keeps_best else 0, 3):
                if team > 1:
                    call(tools[MEET_AT], (meeting, team, yield_at))
                _nothing_seen(sizes, seen)
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, OWN, 0, n, taken, rows, targets, weights, table,
                        masks, stride, dropout, hidden, seed, network, 0, current, alike, 0, gradients, work, seen,
                        whole_sums, total_weight, n, meeting, me, team,
                    ),
                )  # fmt: skip
                loss = quotient(loss, total_weight[0])
                if attempt < 0:
                    # That of the parameters it ended with; then those with the least held-out loss are put back.
                    if n_batches == 1 and count[DIVERGED_AT] < 0:
                        loss_of[count[EPOCHS]] = loss
                    if me == 0:
                        copy(current, shifted(best, s * P), P)
                    continue
                penalty = 0.0
                for p in range(P):
                    if kinds[p] > 0:
                        penalty += l1[s] * abs(current[p]) + l2[s] / 2 * current[p] * current[p]
                if is_finite(loss + penalty) or made == 0 or attempt == 2:
                    break
                # Every update was finite, but not what they came to over all rows. They are taken back: those of the
                # last epoch, or all.
                if count[DIVERGED_AT] < 0:
                    count[DIVERGED_AT], count[FIRST_NONFINITE] = step, LOSS
                if team > 1:
                    call(tools[MEET_AT], (meeting, team, yield_at))  # all have looked at them
                if me == 0:
                    copy(current, begun if attempt == 0 else vector, P)
                count[EPOCHS] = (step - 1) // n_batches if attempt == 0 else sizes[FIRST_STEP] // n_batches
                count[STEPS] = count[EPOCHS] * n_batches
            final[FINAL_LOSS] = loss
            if is_finite(loss):
                call(tools[HEALTH_AT], (sizes, hidden, count[EPOCHS], seen, count))
            if n_batches == 1 and count[DIVERGED_AT] < 0 and not keeps_best:
                loss_of[count[EPOCHS]] = loss
        if me == 0:
            copy(vector, current, P)
    set_float_mode(mode, 0)
    return 0.0


def train_as_given(train_at: Any, given: Any, reals: Any, room: Any, me: Any, team: Any, first: Any, last: Any) -> Any:
    """`train`, whose arguments lie in memory: Python takes longer to hand over so many than a tiny network to train."""
    return call(
        train_at,
        (
            several(given, 0, 27),
            several(reals, 0, 3),
            several(given, 27, 36),
            several(room, 0, 6),
            me,
            team,
            first,
            last,
        ),
    )
