"""The choices that strategies make, restated with lists: slow, and written from their rules alone.

Matrices are lists of rows.
"""


def block_plan(dense, t, open_blocks, collecting):
    """Restate `plan_blocks`: the blocks that hold something, as columns and (line, columns held).

    Parameters
    ----------
    dense : list of list of int
        The high digits, ``[lines][d]``.
    t : int
        Columns of a block.
    open_blocks, collecting : int
        Collecting blocks that a line is tried against, and the most of them for each block of the
        order.
    """
    d = len(dense[0])
    order = by_use(dense)
    limit = t // 2
    while True:
        covering, rests = _cover(dense, order, t, limit)
        room = collecting * len(covering)
        collected = _collect(rests, t, open_blocks, room)
        if collected is not None:
            break
        limit //= 2
    plan = []
    for number, lines in enumerate(covering):
        if lines:
            plan.append(([order[i % d] for i in range(number * t, number * t + t)], lines))
    for columns, lines in collected:
        others = [column for column in order if column not in columns]
        plan.append((columns + others[: t - len(columns)], lines))
    return plan


def by_use(dense):
    """Return the columns, those first that most lines use."""
    used = [sum(line[j] != 0 for line in dense) for j in range(len(dense[0]))]
    return sorted(range(len(used)), key=lambda j: -used[j])


def _cover(dense, order, t, limit):
    block_of = {column: place // t for place, column in enumerate(order)}
    covering, rests = [[] for _ in range(-(-len(order) // t))], []
    for number, line in enumerate(dense):
        parts = {}
        for column in held(line):
            parts.setdefault(block_of[column], []).append(column)
        left = len(held(line))
        while left:
            best = max(parts, key=lambda block: len(parts[block]))
            if len(parts[best]) < left <= limit:
                break
            left -= len(parts[best])
            covering[best].append((number, parts.pop(best)))
        rests.append(sorted(column for part in parts.values() for column in part))
    return covering, rests


def _collect(rests, t, open_blocks, room):
    blocks, opened = [], [None] * open_blocks
    for number, rest in enumerate(rests):
        if not rest:
            continue
        fitting = {}
        for place, block in enumerate(opened):
            if block is not None:
                new = [column for column in rest if column not in blocks[block][0]]
                if len(blocks[block][0]) + len(new) <= t:
                    fitting[place] = len(new)
        if fitting:
            place = min(fitting, key=fitting.get)
        elif len(blocks) == room:
            return None
        else:
            # The fullest is closed; one that was never opened counts as full.
            sizes = [t if block is None else len(blocks[block][0]) for block in opened]
            place = sizes.index(max(sizes))
            opened[place] = len(blocks)
            blocks.append(([], []))
        columns, lines = blocks[opened[place]]
        columns += [column for column in rest if column not in columns]
        lines.append((number, rest))
    return blocks


def held(line):
    """Return the columns in which a line is not zero."""
    return [j for j, value in enumerate(line) if value]


def crossing(columns, digits, other):
    """Restate `cross` for one panel: the lines of `other` that meet it, and their digits."""
    needed = [any(line[place] for line in digits) for place in range(len(columns))]
    lines = [
        number
        for number, line in enumerate(other)
        if any(line[j] for j, used in zip(columns, needed, strict=True) if used)
    ]
    return lines, [
        [other[number][j] * used for j, used in zip(columns, needed, strict=True)]
        for number in lines
    ]


def copied(dense, levels, n, t, slots):
    """Restate `copy_columns`: the (level, column) pairs that are copied, the most used first.

    Parameters
    ----------
    dense : list of list of int
        The high digits, ``[lines][d]``.
    levels : list of int
        The digit level of each line, from 0.
    n, t : int
        Rows of the operand, and columns of a block.
    slots : callable
        Returns how many slots the blocks of a matrix take.
    """
    used = {}
    for level, line in zip(levels, dense, strict=True):
        for column in held(line):
            used[level, column] = used.get((level, column), 0) + 1
    order = sorted(used, key=lambda pair: (-used[pair], pair))
    candidates = sum(count * t > n for count in used.values())

    def without(number):
        taken = set(order[:number])
        return [
            [0 if (level, j) in taken else value for j, value in enumerate(line)]
            for level, line in zip(levels, dense, strict=True)
        ]

    def cost(number):
        return number * n + t * slots(without(number))

    best, number = 0, 1
    while number <= candidates and number * n < cost(best):
        if cost(number) < cost(best):
            best = number
        number *= 2
    for number in (best * 3 // 4, best * 3 // 2):
        if 0 < number <= candidates and cost(number) < cost(best):
            best = number
    return order[:best], without(best)


def high_digits(values, split, outside):
    """Restate `part`: the low digits, and (row, level, digits) of every line of high ones.

    Parameters
    ----------
    values : list of list of int
        The integers.
    split : callable
        Returns the lowest digit of an integer, and what is left of it above.
    outside : callable
        Whether an integer needs more than one digit.
    """
    low = [[split(value)[0] if outside(value) else value for value in row] for row in values]
    rest = [[split(value)[1] if outside(value) else 0 for value in row] for row in values]
    lines, level = [], 1
    while any(any(row) for row in rest):
        for number, row in enumerate(rest):
            if any(row):
                digits = [split(value)[0] if outside(value) else value for value in row]
                lines.append((number, level, digits))
        rest = [[split(value)[1] if outside(value) else 0 for value in row] for row in rest]
        level += 1
    return low, lines
