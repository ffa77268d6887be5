"""By how much of itself a score gets better."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def relative_change(
    scores: ArrayLike, references: ArrayLike, *, direction: str
) -> NDArray[np.float64]:
    """Percent by which scores are better than what they are compared with.

    ``(multi - single) / single`` for scores and ``(single - multi) / single`` for errors, so that
    more is always better.

    Args:
        scores: Scores ``(n,)``.
        references: What each of them is compared with, ``(n,)``.
        direction: ``maximize`` where more of the score is better, else ``minimize``.

    Returns:
        Shape ``(n,)``; NaN where the reference is not above 0.

    Example:
        >>> relative_change([0.3, 0.2], [0.2, 0.0], direction="maximize").round(1).tolist()
        [50.0, nan]
        >>> relative_change([0.3], [0.2], direction="minimize").round(1).tolist()
        [-50.0]
    """
    ours, theirs = (np.asarray(side, dtype=np.float64) for side in (scores, references))
    sign = 1.0 if direction == "maximize" else -1.0
    divisor = np.where(theirs > 0, theirs, np.nan)
    return np.asarray(100 * sign * (ours - theirs) / divisor)
