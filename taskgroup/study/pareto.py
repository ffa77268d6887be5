"""Trade-offs between objectives: the Pareto front and the volume that it dominates.

Every objective is maximised here (``objective_gains`` turns those that are not).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taskgroup.errors import ConfigError


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one, so
    equal points stand side by side. A point with a NaN is never on the front.

    Args:
        points: Shape ``(n, m)``, more is better.

    Returns:
        Shape ``(n,)``.

    Example:
        >>> pareto_front([[0.9, 0.2], [0.8, 0.4], [0.7, 0.3]])
        array([ True,  True, False])
    """
    values = np.asarray(points, dtype=np.float64)
    if values.size == 0:
        return np.zeros(len(values), dtype=np.bool_)
    ours, theirs = values[:, None], values[None, :]
    at_least = np.all(theirs >= ours, axis=2)
    better = np.any(theirs > ours, axis=2)
    dominated: NDArray[np.bool_] = np.any(at_least & better, axis=1)
    unknown: NDArray[np.bool_] = np.any(np.isnan(values), axis=1)
    return ~(dominated | unknown)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume between a reference and a set of points: the union of the boxes they span.

    Fix the reference once per study, from the question (chance level, a baseline), not from the
    data. A point that is not above it in every objective, or holds a NaN, adds nothing.

    Args:
        points: Shape ``(n, m)``, more is better; ``m`` is 1, 2 or 3.
        reference: Shape ``(m,)``.

    Raises:
        ConfigError: More than three objectives, or shapes that do not fit.

    Example:
        >>> round(hypervolume([[0.9, 0.2], [0.8, 0.4], [0.6, 0.5]], [0, 0]), 6)
        0.4
    """
    origin = np.asarray(reference, dtype=np.float64)
    if origin.ndim != 1 or not 1 <= origin.size <= 3:
        raise ConfigError(
            "hypervolume needs a reference with 1 to 3 objectives, "
            f"got shape {origin.shape}; leave objectives out"
        )
    sizes = np.asarray(points, dtype=np.float64).reshape(-1, origin.size) - origin
    boxes = sizes[np.all(sizes > 0, axis=1)]
    return _volume(boxes[pareto_front(boxes)])


def hypervolume_contributions(points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """How much volume each point adds: the loss if it is taken away.

    Args:
        points: Shape ``(n, m)``, more is better.
        reference: Shape ``(m,)``.

    Returns:
        Shape ``(n,)``; zero for points off the front and for points that have a twin.
    """
    values = np.asarray(points, dtype=np.float64)
    whole = hypervolume(values, reference)
    parts = [
        whole - hypervolume(np.delete(values, index, axis=0), reference)
        for index in range(len(values))
    ]
    return np.array(parts, dtype=np.float64)


def _volume(boxes: NDArray[np.float64]) -> float:
    """Volume of the union of boxes from the origin, sizes ``(n, m)`` above 0.

    Slices along the last axis, from the top: between two neighbouring heights the union is a prism
    over the boxes that reach above them.
    """
    if len(boxes) == 0:
        return 0.0
    if boxes.shape[1] == 1:
        return float(boxes.max())
    ordered = boxes[np.argsort(-boxes[:, -1])]
    heights = np.append(ordered[:, -1], 0.0)
    thickness = heights[:-1] - heights[1:]
    return sum(
        _volume(ordered[: index + 1, :-1]) * float(step)
        for index, step in enumerate(thickness)
        if step > 0
    )
