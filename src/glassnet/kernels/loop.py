"""The training loop that every kernel runs in: batches, passes, updates, records, until the last epoch or a bad end.

Compiled once for each dtype, whatever the network: the kernels of a network and of an optimiser come as addresses. It
trains networks one after the other, each by itself, so that a network's numbers do not depend on its company; threads
take some of the networks each. It looks at `stop[0]` before every batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet.kernels.lanes import call, copy, is_finite, quotient, shifted
from glassnet.kernels.places import (
    ALL,
    BATCH_SIZE,
    BEST_EPOCH,
    BEST_HELD_LOSS,
    BLOCK_ROWS,
    CLASSES,
    DEAD_SINCE,
    DIVERGED_AT,
    EPOCHS,
    FINAL_LOSS,
    FIRST_NONFINITE,
    FIRST_STEP,
    GRADIENT,
    HEALTH_AT,
    HELD_BLOCK_ROWS,
    LANES,
    LAST_STEP,
    LOSS,
    MASK_AT,
    MASKS_PER_ROW,
    N_COUNTS,
    N_DEAD,
    N_EPOCHS,
    N_FEATURES,
    N_FINALS,
    N_HELD,
    N_HIDDEN,
    N_ORDER,
    N_OUTPUTS,
    N_PARAMETERS,
    N_RECORDED,
    N_SCALARS,
    ONE_OUTPUT,
    ONE_WEIGHT,
    OUTPUTS_SEEN,
    OWN,
    PARAMETERS,
    PATIENCE,
    PENALTY,
    RECORD_HELD_LOSS,
    RECORD_LOSS,
    RECORD_NONFINITE,
    RECORD_PENALTY,
    RECORD_SQUARED_NORM,
    SEEN_SIZE,
    SHUFFLE_AT,
    SHUFFLED,
    SOFTMAX,
    STATE_SIZE,
    STEPS,
    STOPPED_EARLY,
    STUCK_SINCE,
    UNROLLED,
    WITH_DROPOUT,
    WITH_MEMBERS,
    WITH_RECORDS,
)


def _padded(n: Any, lanes: Any) -> Any:
    """A number of rows, rounded up to whole vectors and tiles."""
    pad = max(lanes, 8)
    return (n + pad - 1) // pad * pad


def _take(
    sizes: Any, data: Any, members: Any, order: Any, which: Any, first: Any, n: Any, alike: Any, block: Any, stride: Any
) -> Any:
    """Rows `first` to `first + n` into the buffers; returns the sum of their weights.

    `which`: of all rows (ALL), of a network's own (OWN), or of those in `order` (SHUFFLED). The buffers are filled up
    to whole vectors with the last row, which weighs nothing there.
    """
    X, y, u = data
    rows, targets, weights, table, _ = block
    n_in, n_out, with_members = sizes[N_FEATURES], sizes[N_OUTPUTS], sizes[WITH_MEMBERS]
    padded = _padded(n, sizes[LANES])
    if which == SHUFFLED and with_members:
        for r in range(n):
            rows[r] = members[order[first + r]]
    elif which == SHUFFLED:
        for r in range(n):
            rows[r] = order[first + r]
    elif which == OWN and with_members:
        for r in range(n):
            rows[r] = members[first + r]
    else:
        for r in range(n):
            rows[r] = first + r
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
    if sizes[UNROLLED]:
        for i in range(n_in):
            for r in range(padded):
                table[i * stride + r] = X[rows[r] * n_in + i]
    return total


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


def run_pass(
    kernel: Any, tools: Any, sizes: Any, X: Any, y: Any, u: Any, members: Any, order: Any, which: Any, first: Any,
    n: Any, taken: Any, rows: Any, targets: Any, weights: Any, table: Any, masks: Any, stride: Any, dropout: Any,
    hidden: Any, seed: Any, network: Any, epoch: Any, vector: Any, alike: Any, derivatives: Any, gradient: Any,
    work: Any, seen: Any, total_weight: Any,
) -> Any:  # fmt: skip
    """The sum over n rows of weight times loss (and, in `gradient`, of its derivatives); total_weight[0]: of weights.

    `taken` is the sum of the weights where the buffers hold these very rows already, else negative.
    """
    lanes = sizes[LANES]
    loss = total = 0.0
    data, block = (X, y, u), (rows, targets, weights, table, masks)
    if derivatives:
        for p in range(sizes[N_PARAMETERS]):
            gradient[p] = 0
    start = 0
    while start < n:  # a range of such a step could raise
        size = min(stride, n - start)
        if taken < 0:
            total += _take(sizes, data, members, order, which, first + start, size, alike, block, stride)
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
                vector, table if sizes[UNROLLED] else X, targets, weights, masks, rows, padded, stride, alike,
                derivatives, gradient, work, seen, tools,
            ),
        )  # fmt: skip
        start += stride
    total_weight[0] = total
    return loss


def train(
    pass_at: Any, kernel: Any, update: Any, tools: Any, sizes: Any,  # what is run, and its measures: see `places`
    X: Any, y: Any, u: Any, held_X: Any, held_y: Any, held_u: Any,  # rows, their targets and weights; held-out ones
    members: Any, begins: Any, subsets: Any,  # which rows are whose
    vectors: Any, states: Any, best: Any, kinds: Any,  # parameters, and what belongs to them
    numbers: Any, seeds: Any, rates: Any, l1: Any, l2: Any,  # one for each network
    schedule: Any, scalars: Any, dropout: Any, hidden: Any,  # for each update; for each hidden unit
    least_gain: Any,
    losses: Any, held_losses: Any, finals: Any, counts: Any, records: Any, stop: Any,  # what comes of it
    room: Any, whole_room: Any, total_weight: Any,  # for numbers, for whole numbers, for one
    first: Any, last: Any,
) -> Any:  # fmt: skip
    """Train networks `first` to `last` - 1, from update FIRST_STEP on, until LAST_STEP are made."""
    P, lanes, n_held = sizes[N_PARAMETERS], sizes[LANES], sizes[N_HELD]
    stride, held_stride = sizes[BLOCK_ROWS], sizes[HELD_BLOCK_ROWS]
    n_in, n_out = sizes[N_FEATURES] if sizes[UNROLLED] else 0, sizes[N_OUTPUTS]
    masks_per_row = sizes[MASKS_PER_ROW] if sizes[WITH_DROPOUT] else 0

    rows, held_rows = whole_room, shifted(whole_room, stride)
    order = shifted(held_rows, held_stride)
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
    # The parameters before the last update, now and after the next one lie in a ring.
    ring = shifted(held_masks, masks_per_row * held_stride + lanes)
    begun = shifted(ring, 3 * (P + lanes))  # what they were when the epoch began
    gradient = shifted(begun, P + lanes)
    found = shifted(gradient, P + lanes)
    seen = shifted(found, 2 * lanes)
    unseen = shifted(seen, sizes[SEEN_SIZE] + lanes)
    work = shifted(unseen, sizes[SEEN_SIZE] + lanes)

    n_epochs = sizes[N_EPOCHS]
    for s in range(first, last):
        begin = begins[subsets[s]]
        n = begins[subsets[s] + 1] - begin
        own = shifted(members, begin if sizes[WITH_MEMBERS] else 0)
        seed, network = seeds[s], numbers[s]
        batch = min(sizes[BATCH_SIZE], n)
        n_batches = (n + batch - 1) // batch
        which = SHUFFLED if n_batches > 1 else OWN
        vector, count = shifted(vectors, s * P), shifted(counts, s * N_COUNTS)
        loss_of = shifted(losses, s * (n_epochs + 1))
        held_loss_of = shifted(held_losses, s * (n_epochs + 1))
        final = shifted(finals, s * N_FINALS)
        alike = 1  # whether all its rows weigh the same
        for r in range(1, 0 if sizes[ONE_WEIGHT] else n):
            if u[own[r] if sizes[WITH_MEMBERS] else r] != u[own[0] if sizes[WITH_MEMBERS] else 0]:
                alike = 0
        now = 0
        copy(ring, vector, P)
        taken = held_taken = -1.0
        step = sizes[FIRST_STEP]
        if step == 0:
            if n_held:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, held_X, held_y, held_u, own, order, ALL, 0, n_held, held_taken, held_rows,
                        held_targets, held_weights, held_table, held_masks, held_stride, dropout, hidden, seed,
                        network, 0, ring, 1, 0, gradient, work, unseen, total_weight,
                    ),
                )  # fmt: skip
                held_loss_of[0] = final[BEST_HELD_LOSS] = quotient(loss, total_weight[0])
                copy(shifted(best, s * P), vector, P)
            if n_batches > 1:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, OWN, 0, n, -1.0, rows, targets, weights, table,
                        masks, stride, dropout, hidden, seed, network, 0, ring, alike, 0, gradient, work, unseen,
                        total_weight,
                    ),
                )  # fmt: skip
                loss_of[0] = quotient(loss, total_weight[0])
        last_step = min(sizes[LAST_STEP], n_epochs * n_batches)
        made = 0  # updates in this call
        going = True
        while going and step < last_step:
            epoch = step // n_batches + 1
            _nothing_seen(sizes, seen)
            copy(begun, shifted(ring, now * (P + lanes)), P)
            if n_batches > 1:
                call(tools[SHUFFLE_AT], (n, seed, network, epoch, order, keys, found_keys, buckets))
            epoch_loss = epoch_total = 0.0
            for b in range(step % n_batches, n_batches):
                if stop[0] or step == last_step:
                    going = False
                    break
                current = shifted(ring, now * (P + lanes))
                after = shifted(ring, (now + 1) % 3 * (P + lanes))
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, which, b * batch, min(batch, n - b * batch),
                        taken, rows, targets, weights, table, masks, stride, dropout, hidden, seed, network, epoch,
                        current, alike, 1, gradient, work, seen, total_weight,
                    ),
                )  # fmt: skip
                total = total_weight[0]
                if n_batches == 1 and n <= stride:
                    taken = total
                epoch_loss += loss
                epoch_total += total
                loss = quotient(loss, total)
                call(
                    update,
                    (
                        current, after, gradient, shifted(states, s * sizes[STATE_SIZE]), kinds,
                        shifted(scalars, made * sizes[N_SCALARS]), rates[s] * schedule[made],
                        1 / total if total > 0 else 0.0, l1[s], l2[s], P, found,
                    ),
                )  # fmt: skip
                bad = 0
                if not is_finite(loss):
                    bad = LOSS
                elif not is_finite(found[0]):
                    bad = PENALTY
                elif not is_finite(found[2]):
                    bad = GRADIENT
                elif not is_finite(found[3]):
                    bad = PARAMETERS
                if sizes[WITH_RECORDS]:
                    record = shifted(records, made * N_RECORDED)
                    record[RECORD_LOSS], record[RECORD_PENALTY] = loss, found[0]
                    record[RECORD_SQUARED_NORM], record[RECORD_NONFINITE] = found[1], bad
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
                now = (now + 1) % 3
            if not going:
                break
            current = shifted(ring, now * (P + lanes))
            if n_batches > 1:
                loss_of[epoch] = quotient(epoch_loss, epoch_total)
                call(tools[HEALTH_AT], (sizes, hidden, epoch, seen, count))
            if n_held:
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, held_X, held_y, held_u, own, order, ALL, 0, n_held, held_taken, held_rows,
                        held_targets, held_weights, held_table, held_masks, held_stride, dropout, hidden, seed,
                        network, 0, current, 1, 0, gradient, work, unseen, total_weight,
                    ),
                )  # fmt: skip
                if n_held <= held_stride:
                    held_taken = total_weight[0]
                loss = quotient(loss, total_weight[0])
                held_loss_of[epoch] = loss
                if sizes[WITH_RECORDS]:
                    records[(made - 1) * N_RECORDED + RECORD_HELD_LOSS] = loss
                best_loss = final[BEST_HELD_LOSS]
                if loss < best_loss - least_gain or (best_loss != best_loss and loss == loss):
                    final[BEST_HELD_LOSS] = loss
                    count[BEST_EPOCH] = epoch
                    copy(shifted(best, s * P), current, P)
                elif sizes[PATIENCE] >= 0 and epoch - count[BEST_EPOCH] >= sizes[PATIENCE]:
                    count[STOPPED_EARLY] = 1
                    going = False
        count[STEPS] = step
        count[EPOCHS] = step // n_batches
        current = shifted(ring, now * (P + lanes))
        if step == n_epochs * n_batches or count[DIVERGED_AT] >= 0 or count[STOPPED_EARLY] or stop[0]:
            keeps_best = sizes[PATIENCE] >= 0 and n_held > 0 and stop[0] == 0
            for attempt in range(-1 if keeps_best else 0, 3):
                _nothing_seen(sizes, seen)
                loss = call(
                    pass_at,
                    (
                        kernel, tools, sizes, X, y, u, own, order, OWN, 0, n, taken, rows, targets, weights, table,
                        masks, stride, dropout, hidden, seed, network, 0, current, alike, 0, gradient, work, seen,
                        total_weight,
                    ),
                )  # fmt: skip
                loss = quotient(loss, total_weight[0])
                if attempt < 0:
                    # That of the parameters it ended with; then those with the least held-out loss are put back.
                    if n_batches == 1 and count[DIVERGED_AT] < 0:
                        loss_of[count[EPOCHS]] = loss
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
                copy(current, begun if attempt == 0 else vector, P)
                count[EPOCHS] = (step - 1) // n_batches if attempt == 0 else sizes[FIRST_STEP] // n_batches
                count[STEPS] = count[EPOCHS] * n_batches
            final[FINAL_LOSS] = loss
            if is_finite(loss):
                call(tools[HEALTH_AT], (sizes, hidden, count[EPOCHS], seen, count))
            if n_batches == 1 and count[DIVERGED_AT] < 0 and not keeps_best:
                loss_of[count[EPOCHS]] = loss
        copy(vector, current, P)
    return 0.0
