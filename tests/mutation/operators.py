"""What can be done to a check: from a module's source to its mutants.

A mutant is one small change to the text of a module. Whatever the change, all other code stays on its line, so that
coverage, tracebacks and the functions that are already in memory still fit. What is never changed: the texts of errors,
docstrings, annotations, default values and `assert`, which guards against our own bugs and never against input.
`KINDS` lists what is.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

MODULE = "<module>"

KINDS = {
    "call": "a statement that only calls something is gone: a check that nobody makes",
    "raise": "a refusal is gone; what comes after it runs instead",
    "never": "the condition of an if is never true; where all that it does is raise, see raise",
    "branch": "a if c else b is always a, or always b",
    "compare": "< for <=, == for !=, in for not in, is for is not; sizes that differ: only one way",
    "connect": "and for or",
    "operand": "one operand of and, or is gone",
    "not": "a not is gone",
    "quantifier": "all for any, max for min",
    "alternative": "isinstance without one of its classes",
    "element": "tuples compared without one of their elements; a set in a rule without one of its own",
    "filter": "a comprehension takes everything",
    "flag": "a variable is set to True for False",
    "number": "an integer of a condition, or a constant named …MAX, one more or one less",
}
"""What can be done to a check."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ONE_SIDED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.LtE, ast.GtE),
    ast.NotEq: (ast.Lt, ast.Gt),
}
_QUANTIFIERS = {"all": "any", "any": "all", "max": "min", "min": "max"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the bytes from `start` to `end` of a module's source become `replacement`."""

    module: str
    """The module's path below the project's folder."""
    function: str
    kind: str
    before: str
    after: str
    """What is changed and what becomes of it, on one line each."""
    start: int
    end: int
    replacement: str
    line: int
    last_line: int
    """Where the statement stands, or its head: a test that runs none of this cannot see the change."""
    target: str = ""
    """The variable that a changed statement of the module itself assigns."""
    rule: str = ""
    """The id of the rule that is changed, in small letters, if the code tells: tests named after it come first."""
    ordinal: int = 1
    """Which of the same changes in one function."""

    @property
    def key(self) -> str:
        """A name that stays when lines move."""
        repeated = f" (no. {self.ordinal})" if self.ordinal > 1 else ""
        return f"{self.module} {self.function} {self.kind}: {self.before} -> {self.after}{repeated}"

    def apply(self, source: str) -> str:
        """The source of the module with the change."""
        data = source.encode()
        return (data[: self.start] + self.replacement.encode() + data[self.end :]).decode()


def find_mutants(module: str, source: str, *, rules: bool) -> list[Mutant]:
    """All mutants of a module, from top to bottom. `rules`: it is one of the rule modules, where every value counts."""
    finder = _Finder(module, source, rules=rules)
    finder.visit(ast.parse(source))
    changes: dict[tuple[int, int, str], Mutant] = {}
    for mutant in finder.found:
        changes.setdefault((mutant.start, mutant.end, mutant.replacement), mutant)
    seen: Counter[str] = Counter()
    numbered = []
    for mutant in sorted(changes.values(), key=lambda mutant: (mutant.start, mutant.end)):
        seen[mutant.key] += 1
        numbered.append(replace(mutant, ordinal=seen[mutant.key]))
    return numbered


class _Finder(ast.NodeVisitor):
    """Walks a module and writes down what can be changed."""

    def __init__(self, module: str, source: str, *, rules: bool) -> None:
        self.module = module
        self.rules = rules
        self.data = source.encode()
        self.line_starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.line_starts.append(self.line_starts[-1] + len(line))
        self.found: list[Mutant] = []
        self.scope: list[str] = []
        self.span = (1, 1)
        self.target = ""
        self.rule = ""
        self.shown: list[ast.expr] = []
        """The conditions that enclose what is visited: the innermost is what a change to a number is shown in."""

    # Where we are

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            outer = self.span, self.rule
            self.span, self.rule = _head(node), _rule(node) or self.rule
            super().visit(node)
            self.span, self.rule = outer
        else:
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.scope.append(node.name)
        self._visit_all(node.body)
        self.scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        self._visit_all([inner for inner in node.body if isinstance(inner, ast.FunctionDef)])
        self.scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._visit_assigned(node.target, node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Left alone, as is what an f-string holds."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts are not rules."""

    # Statements

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _calls(node.value, "assert_never"):
            self._statement("call", node)
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        if not (isinstance(node.exc, ast.Call) and _calls(node.exc, "AssertionError")):
            self._statement("raise", node)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if not all(isinstance(inner, ast.Raise) for inner in node.body):
            self._expression("never", node.test, "False")
        self._visit_condition(node.test)
        self._visit_all([*node.body, *node.orelse])

    def visit_While(self, node: ast.While) -> None:
        self._visit_condition(node.test)
        self._visit_all([*node.body, *node.orelse])

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_assigned(node.targets[0], node.value)

    def _visit_assigned(self, target: ast.expr, value: ast.expr) -> None:
        self.target = target.id if isinstance(target, ast.Name) else ""
        if not self.scope and isinstance(target, ast.Name) and target.id.endswith("MAX"):
            text, (start, end) = ast.unparse(value), self._range(value)
            for changed in (f"({text}) + 1", f"({text}) - 1"):
                lost = self._lost_lines(start, end)
                self._add(
                    "number", start, end, f"({changed}{lost})", f"{target.id} = {text}", f"{target.id} = {changed}"
                )
        elif self.scope and isinstance(value, ast.Constant) and isinstance(value.value, bool):
            self._text("flag", value, str(not value.value), f"{ast.unparse(target)} = {value.value}", None)
        elif self.scope or self.rules:
            self.visit(value)

    def visit_match_case(self, node: ast.match_case) -> None:
        self._visit_all([*([node.guard] if node.guard else []), *node.body])

    # Expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for place, op in enumerate(node.ops):
            left, right = sides[place : place + 2]
            counted = (_is_count(left) or _is_count(right)) and not _is_set_size(left)
            swaps = _ONE_SIDED.get(type(op), ()) if counted else ()
            for swapped in swaps or (_COMPARISONS[type(op)],):
                ops = [*node.ops[:place], swapped(), *node.ops[place + 1 :]]
                self._expression("compare", node, ast.unparse(ast.Compare(node.left, ops, node.comparators)))
        if len(sides) == 2 and isinstance(node.left, ast.Tuple):
            for place in range(len(node.left.elts)):
                self._expression("element", node, _without_element(node, node.left, place))
        self._visit_condition(node, inside=True)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._expression("connect", node, ast.unparse(ast.BoolOp(other, node.values)))
        for place in range(len(node.values)):
            left = [*node.values[:place], *node.values[place + 1 :]]
            kept = left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
            self._expression("operand", node, ast.unparse(kept))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._expression("not", node, ast.unparse(node.operand))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._expression("branch", node, ast.unparse(node.body), ast.unparse(node.orelse))
        self._visit_condition(node.test)
        self._visit_all([node.body, node.orelse])

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _QUANTIFIERS:
            called = ast.Call(ast.Name(_QUANTIFIERS[node.func.id]), node.args, node.keywords)
            self._expression("quantifier", node, ast.unparse(called))
        if _calls(node, "isinstance"):
            classes = list(_alternatives(node.args[1]))
            for place in range(len(classes) if len(classes) > 1 else 0):
                left = " | ".join([*classes[:place], *classes[place + 1 :]])
                self._expression("alternative", node, f"isinstance({ast.unparse(node.args[0])}, {left})")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._expression("filter", condition, "True")
            self._visit_condition(condition)
        self.visit(node.iter)

    def visit_Set(self, node: ast.Set) -> None:
        if self.rules:
            for place in range(len(node.elts)):
                left = [*node.elts[:place], *node.elts[place + 1 :]]
                self._expression("element", node, ast.unparse(ast.Set(left)) if left else "set()")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if self.shown and isinstance(node.value, int) and not isinstance(node.value, bool):
            for changed in (node.value + 1, node.value - 1):
                self._text("number", node, str(changed), None, self.shown[-1])

    def _visit_condition(self, node: ast.expr, *, inside: bool = False) -> None:
        self.shown.append(node)
        self.generic_visit(node) if inside else self.visit(node)
        self.shown.pop()

    def _visit_all(self, nodes: list[ast.stmt] | list[ast.expr] | list[ast.expr | ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    # What is written down

    def _statement(self, kind: str, node: ast.stmt) -> None:
        start, end = self._range(node)
        self._add(kind, start, end, "pass" + self._lost_lines(start, end), self._one_line(start, end), "pass")

    def _expression(self, kind: str, node: ast.expr, *replacements: str) -> None:
        start, end = self._range(node)
        for text in replacements:
            self._add(kind, start, end, f"({text}{self._lost_lines(start, end)})", ast.unparse(node), text)

    def _text(self, kind: str, node: ast.expr, text: str, before: str | None, shown: ast.expr | None) -> None:
        """A change that is shown as part of something larger."""
        start, end = self._range(node)
        if shown is None:
            assert before is not None
            self._add(kind, start, end, text, before, before.rpartition("=")[0] + "= " + text)
            return
        first, last = self._range(shown)
        after = (self.data[first:start] + text.encode() + self.data[end:last]).decode()
        self._add(kind, start, end, text, self._one_line(first, last), " ".join(after.split()))

    def _add(self, kind: str, start: int, end: int, replacement: str, before: str, after: str) -> None:
        function = ".".join(self.scope) or MODULE
        self.found.append(
            Mutant(
                self.module, function, kind, before, after, start, end, replacement, *self.span, self.target, self.rule
            )
        )

    def _range(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self.line_starts[node.lineno - 1] + node.col_offset,
            self.line_starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _lost_lines(self, start: int, end: int) -> str:
        return "\n" * self.data[start:end].count(b"\n")

    def _one_line(self, start: int, end: int) -> str:
        return " ".join(self.data[start:end].decode().split())


def _head(node: ast.stmt) -> tuple[int, int]:
    """The lines of a statement, of a compound one those before its body."""
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    last = node.end_lineno or node.lineno
    if body:
        first = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
        last = max(node.lineno, first.lineno - 1)
    return node.lineno, last


def _rule(node: ast.stmt) -> str:
    """The id of the rule that a statement is about: by its name, by what it calls, or by what it raises."""
    named = re.match(r"([a-z]\d+)_", getattr(node, "name", ""))
    if named:
        return named[1]
    if not isinstance(node, ast.Expr | ast.Raise | ast.If):
        return ""
    called = re.search(r"\b([a-z]\d+)_", ast.unparse(node)) if isinstance(node, ast.Expr) else None
    raised = re.search(r"(?:RuleViolation|CommitFirst)\('([A-Z]\d+)'", ast.unparse(node))
    return called[1] if called else raised[1].lower() if raised else ""


def _calls(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == name


def _is_count(node: ast.expr) -> bool:
    """Whether an expression is a number that may be too small as well as too large."""
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, ast.Call) and (_calls(node, "len") or _calls(node, "sum"))


def _is_set_size(node: ast.expr) -> bool:
    """Whether it is the size of a set made here: never larger than the list with which it is compared."""
    if not isinstance(node, ast.Call) or not _calls(node, "len"):
        return False
    made = node.args[0]
    return isinstance(made, ast.SetComp) or (isinstance(made, ast.Call) and _calls(made, "set"))


def _alternatives(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield ast.unparse(node)


def _without_element(node: ast.Compare, left: ast.Tuple, place: int) -> str:
    """A comparison with a tuple that takes the other side's element for its own."""
    right = ast.unparse(node.comparators[0])
    elements = [ast.unparse(element) for element in left.elts]
    elements[place] = f"({right})[{place}]"
    op = ast.unparse(ast.Compare(ast.Name("a"), node.ops, [ast.Name("b")]))[2:-2]
    return f"({', '.join(elements)}) {op} {right}"
