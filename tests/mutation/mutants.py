"""Small faults of a Python module, one at a time: its syntax tree with one node changed."""

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Add, ast.FloorDiv],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.LShift: [ast.RShift],
    ast.RShift: [ast.LShift],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.BitXor: [ast.BitOr],
}
COMPARED = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
NAMES = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "amin": "amax",
    "amax": "amin",
    "a": "b",
    "b": "a",
}
"""Functions and attributes that stand for one another; `a` and `b` are the two operands."""

COMMUTE = {"min", "max", "minimum", "maximum", "gcd", "equal"}
"""Functions whose first two arguments may change places."""

NOWHERE_ELSE = {"device"}
"""Keywords that change nothing on the CPU, where the mutants are tried."""

Place = tuple[tuple[str, int | None], ...]
"""The way from the root of the tree to a node: fields, and indices where a field is a list."""


@dataclass(frozen=True)
class Mutant:
    """One change of one node.

    `before` and `after` are the statement that it stands in, or its head where it has a body.
    """

    file: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    place: Place
    number: int
    """Which of the changes of that node."""

    @property
    def key(self) -> str:
        """What names the mutant as long as its statement stays as it is."""
        return f"{self.file}::{self.function} [{self.operator}] {self.before} => {self.after}"

    @property
    def order(self) -> str:
        """A place in an order that does not depend on where in the file it stands."""
        return hashlib.sha256(self.key.encode()).hexdigest()


def mutants_of(text: str, file: str) -> list[Mutant]:
    """Return every mutant of a module's source, in the order of the file."""
    tree = ast.parse(text)
    found = {}
    for place, node, function, statement in _walk(tree):
        for number, (operator, changed) in enumerate(_changes(node)):
            at = _statement_place(tree, place)
            after = _head(_at(_with(tree, place, changed), at))
            before = _head(statement)
            if before != after:
                line = getattr(node, "lineno", statement.lineno)
                mutant = Mutant(file, function, line, operator, before, after, place, number)
                found.setdefault(mutant.key, mutant)
    return list(found.values())


def tree_of(text: str, mutant: Mutant) -> ast.Module:
    """Return the module's syntax tree with the change in it."""
    tree = ast.parse(text)
    changes = list(_changes(_at(tree, mutant.place)))
    return _with(tree, mutant.place, changes[mutant.number][1])


def is_compiled(text: str, mutant: Mutant) -> bool:
    """Say whether Numba compiles what a mutant changes, or a constant that may be compiled."""
    tree = ast.parse(text)
    if "njit" not in text:
        return False
    around = [_at(tree, mutant.place[:length]) for length in range(1, len(mutant.place))]
    functions = [node for node in around if isinstance(node, ast.FunctionDef)]
    return not functions or any(
        "njit" in ast.unparse(decorator) for node in functions for decorator in node.decorator_list
    )


def lines_of(text: str, mutant: Mutant) -> range:
    """Return the lines of the statement that a mutant stands in, or of its head."""
    tree = ast.parse(text)
    statement = _at(tree, _statement_place(tree, mutant.place))
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if isinstance(body, list) and body else statement.end_lineno
    return range(statement.lineno, max(statement.lineno, end) + 1)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Return what a node may become."""
    if isinstance(node, ast.BinOp):
        for other in SWAPPED.get(type(node.op), []):
            yield "operator", _replaced(node, op=other())
    elif isinstance(node, ast.AugAssign):
        for other in SWAPPED.get(type(node.op), [])[:1]:
            yield "operator", _replaced(node, op=other())
        yield "deletion", ast.Pass()
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for number, other in enumerate(COMPARED[type(node.ops[0])]):
            ordered = isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE)
            name = "boundary" if ordered and number == 0 else "comparison"
            yield name, _replaced(node, ops=[other()])
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "condition", _replaced(node, op=other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield "operator", node.operand
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield "constant", ast.Constant(not node.value)
        elif isinstance(node.value, int):
            yield "constant", ast.Constant(node.value + 1)
            if node.value > 1:
                yield "constant", ast.Constant(node.value - 1)
        elif isinstance(node.value, float):
            yield "constant", ast.Constant(node.value * 2 or 1.0)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "condition", _replaced(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call):
        for number in range(len(node.keywords)):
            if node.keywords[number].arg not in {None, *NOWHERE_ELSE}:
                rest = node.keywords[:number] + node.keywords[number + 1 :]
                yield "argument", _replaced(node, keywords=rest)
        swappable = len(node.args) > 1 and _called(node) not in COMMUTE
        if swappable and not any(isinstance(x, ast.Starred) for x in node.args[:2]):
            swapped = [node.args[1], node.args[0], *node.args[2:]]
            yield "argument", _replaced(node, args=swapped)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and len(node.id) > 1:
        if node.id in NAMES:
            yield "argument", _replaced(node, id=NAMES[node.id])
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in NAMES:
        yield "argument", _replaced(node, attr=NAMES[node.attr])
    elif _is_call(node) or isinstance(node, ast.Continue | ast.Break | ast.Raise):
        yield "deletion", ast.Pass()


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _replaced(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _walk(tree: ast.Module) -> Iterator[tuple[Place, ast.AST, str, ast.stmt]]:
    """Return every node that computes, with its place, its function and its statement."""

    def visit(node: ast.AST, place: Place, names: tuple[str, ...], statement: ast.stmt | None):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = (*names, node.name)
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None:
            yield place, node, ".".join(names), statement
        for field, value in ast.iter_fields(node):
            if _says_nothing(node, field):
                continue
            if isinstance(value, ast.AST):
                yield from visit(value, (*place, (field, None)), names, statement)
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST) and not _is_text(item):
                        yield from visit(item, (*place, (field, index)), names, statement)

    yield from visit(tree, (), (), None)


def _says_nothing(node: ast.AST, field: str) -> bool:
    """Say whether nothing in a field of a node is computed when the program runs."""
    if field in ("annotation", "returns", "decorator_list", "type_params", "bases", "format_spec"):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Raise) or (
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("__all__", "T")
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _at(tree: ast.AST, place: Place) -> ast.AST:
    for field, index in place:
        value = getattr(tree, field)
        tree = value if index is None else value[index]
    return tree


def _statement_place(tree: ast.AST, place: Place) -> Place:
    """Return the place of the innermost statement around a place."""
    for length in range(len(place), 0, -1):
        if isinstance(_at(tree, place[:length]), ast.stmt):
            return place[:length]
    return ()


def _with(tree: ast.AST, place: Place, changed: ast.AST) -> ast.AST:
    """Return a copy of a tree with another node at a place; what is beside the way is shared."""
    if not place:
        return changed
    (field, index), rest = place[0], place[1:]
    value = getattr(tree, field)
    if index is None:
        inner = _with(value, rest, changed)
    else:
        inner = [*value[:index], _with(value[index], rest, changed), *value[index + 1 :]]
    return ast.fix_missing_locations(_replaced(tree, **{field: inner}))


def _head(statement: ast.AST) -> str:
    """Return a statement as text, without the statements in it."""
    if isinstance(getattr(statement, "body", None), list):
        emptied = {"body": [ast.Pass()], "orelse": [], "handlers": [], "finalbody": []}
        known = {name: value for name, value in emptied.items() if hasattr(statement, name)}
        if isinstance(statement, ast.Try):
            known = {"body": [ast.Pass()], "finalbody": [ast.Pass()]}
        statement = _replaced(statement, **known)
        return ast.unparse(statement).partition("\n    pass")[0]
    return ast.unparse(statement)
