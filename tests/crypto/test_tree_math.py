"""Index arithmetic against the official vectors and against Appendix C's definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.mls import tree_math
from crypto.mls.tree_nodes import LeafIndex, NodeIndex
from tests import vectors
from tests.vectors import Case

WIDTHS = st.integers(0, 7).map(lambda depth: 2**depth)


@vectors.each("mls/tree-math.json")
def test_published_vectors(case: Case) -> None:
    leaf_count = case["n_leaves"]
    root = tree_math.root(leaf_count)
    assert root == case["root"]
    assert len(tree_math.with_ancestors(tree_math.leaf_range(root), leaf_count)) == case["n_nodes"]
    for index in map(NodeIndex, range(case["n_nodes"])):
        if tree_math.level(index) == 0:
            assert case["left"][index] is None
            assert case["right"][index] is None
        else:
            assert tree_math.left(index) == case["left"][index]
            assert tree_math.right(index) == case["right"][index]
        if index == root:
            assert case["parent"][index] is None
            assert case["sibling"][index] is None
        else:
            assert tree_math.parent(index) == case["parent"][index]
            assert tree_math.copath_child(tree_math.parent(index), index) == case["sibling"][index]


def test_paths_of_the_example_tree() -> None:
    # RFC 9420 §4.1.2: T 1, U 3, V 5, W 7, X 9, Y 11, Z 13; leaves A to H 0 to 14
    named = {"T": 1, "U": 3, "V": 5, "W": 7, "X": 9, "Y": 11, "Z": 13} | {"ABCDEFGH"[i]: 2 * i for i in range(8)}

    def nodes(names: str) -> tuple[NodeIndex, ...]:
        return tuple(NodeIndex(named[name]) for name in names)

    for leaf, direct_path, copath in (
        ("A", "TUW", "BVY"), ("B", "TUW", "AVY"), ("E", "XYW", "FZU"), ("F", "XYW", "EZU"), ("G", "ZYW", "HXU"),
    ):  # fmt: skip
        (start,) = nodes(leaf)
        assert tree_math.direct_path(start, 8) == nodes(direct_path)
        for ancestor, off in zip(nodes(direct_path), nodes(copath), strict=True):
            assert tree_math.copath_child(ancestor, start) == off
    assert tree_math.direct_path(tree_math.root(8), 8) == ()


@given(WIDTHS, st.data())
def test_subtrees_are_what_the_children_span(leaf_count: int, data: st.DataObject) -> None:
    head = NodeIndex(data.draw(st.integers(0, 2 * leaf_count - 2)))

    def below(node: NodeIndex) -> list[NodeIndex]:
        if tree_math.level(node) == 0:
            return [node]
        return [*below(tree_math.left(node)), node, *below(tree_math.right(node))]

    everything = range(2 * leaf_count - 1)
    assert list(everything[tree_math.subtree(head)]) == below(head)
    assert list(tree_math.leaf_nodes(head)) == [node for node in below(head) if not node & 1]
    assert [tree_math.node_of(leaf) for leaf in tree_math.leaf_range(head)] == list(tree_math.leaf_nodes(head))
    assert [node for node in everything if tree_math.is_in_subtree(NodeIndex(node), head)] == below(head)


@given(WIDTHS, st.data())
def test_the_common_ancestor_is_the_lowest(leaf_count: int, data: st.DataObject) -> None:
    places = st.integers(0, 2 * leaf_count - 2).map(NodeIndex)
    one, other = data.draw(places), data.draw(places)
    above_one = (one, *tree_math.direct_path(one, leaf_count))
    above_other = (other, *tree_math.direct_path(other, leaf_count))
    lowest = next(node for node in above_one if node in above_other)
    assert tree_math.common_ancestor(one, other) == tree_math.common_ancestor(other, one) == lowest


@given(WIDTHS, st.data())
def test_with_ancestors_lists_children_first_and_each_once(leaf_count: int, data: st.DataObject) -> None:
    leaves = data.draw(st.sets(st.integers(0, leaf_count - 1).map(LeafIndex)))
    order = tree_math.with_ancestors(leaves, leaf_count)
    expected = {
        node for leaf in leaves for node in (2 * leaf, *tree_math.direct_path(tree_math.node_of(leaf), leaf_count))
    }
    assert len(order) == len(set(order))
    assert set(order) == expected
    assert [tree_math.level(node) for node in order] == sorted(tree_math.level(node) for node in order)


def test_a_leaf_has_no_children() -> None:
    with pytest.raises(ValueError, match="leaf"):
        tree_math.left(NodeIndex(4))
    with pytest.raises(ValueError, match="leaf"):
        tree_math.right(NodeIndex(4))
