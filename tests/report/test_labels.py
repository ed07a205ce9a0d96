"""Names beside points: where they stand, in numbers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from ablate.report import labels


def test_names_that_have_room_stay_where_they_are() -> None:
    assert labels.spread([0.9, 0.1, 0.5], 0.1, 0, 1) == pytest.approx([0.9, 0.1, 0.5])


def test_crowded_names_move_apart_as_little_as_they_must() -> None:
    assert labels.spread([0.5, 0.5, 0.5], 0.1, 0, 1) == pytest.approx([0.4, 0.5, 0.6])
    assert labels.spread([0.0, 0.0], 0.1, 0, 1) == pytest.approx([0.0, 0.1]), "not below the axis"
    assert labels.spread([], 0.1, 0, 1) == []


@pytest.mark.parametrize("seed", range(20))
def test_no_two_are_nearer_than_the_gap_and_their_order_is_that_of_the_points(seed: int) -> None:
    wanted = np.random.default_rng(seed).random(12)
    places = np.array(labels.spread(list(wanted), 0.07, 0, 1))
    assert np.diff(np.sort(places)).min() >= 0.07 - 1e-9
    assert places.min() >= -1e-9 and places.max() <= 1 + 1e-9
    assert (np.argsort(wanted) == np.argsort(places)).all()


def test_the_names_of_a_panel_do_not_touch() -> None:
    figure = Figure(figsize=(4, 3), dpi=100)
    axis = figure.subplots()
    axis.set_xscale("log")
    points = [labels.Named(x, y, f"system {x:.0e}-{i}", "black") for x in (1e9, 7e9) for i, y in enumerate((0.3, 0.31, 0.31, 0.6))]
    xs = [p.x for p in points]
    axis.plot(xs, [p.y for p in points], "o")
    labels.make_room(axis, xs)
    axis.set_ylim(*axis.get_ylim())
    labels.write(axis, points, xs, height=2.2)
    boxes = [text.get_window_extent() for text in axis.texts]
    assert len(boxes) == len(points)
    assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes) if i < j and a.overlaps(b)]
    frame = axis.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
