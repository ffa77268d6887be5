"""Angle between predicted and true directions."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from taskgroup.metrics.base import Direction, SumMetric


class AngularMetric(SumMetric):
    """Angle between predicted and true surface normals, in degrees, pooled over pixels.

    Measures of Fouhey, Gupta and Hebert, "Data-Driven 3D Primitives" (2013): ``angular_error`` is
    the mean angle, ``within_11_25`` the share of pixels below 11.25 degrees. A prediction of length
    zero points nowhere and counts 90 degrees. Sums are (angle, near pixels, pixels).
    """

    directions: ClassVar[Mapping[str, Direction]] = {
        "angular_error": "minimize",
        "within_11_25": "maximize",
    }

    def __init__(self) -> None:
        super().__init__(3)

    def per_image(self, prediction: Tensor, values: Tensor, valid: Tensor) -> Tensor:
        """Sums ``(N, 3)`` of vectors ``(N, 3, H, W)`` against unit vectors."""
        degrees = angle_degrees(prediction.float(), values)
        terms = [degrees.masked_fill(~valid, 0.0), valid & (degrees < 11.25), valid]
        return torch.stack([term.double().sum((1, 2)) for term in terms], 1)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Scores of sums ``(..., 3)``."""
        angle, near, count = sums.unbind(-1)
        return {"angular_error": angle / count, "within_11_25": near / count}


def angle_degrees(first: Tensor, second: Tensor) -> Tensor:
    """Angles in degrees between vectors ``(N, 3, H, W)``, shape ``(N, H, W)``.

    The arc tangent of cross over dot product is exact near 0 and 180 degrees, where the arc cosine
    of a float32 is off by 0.03. A vector of length zero gives 90.
    """
    cross = torch.linalg.vector_norm(torch.linalg.cross(first, second, dim=1), dim=1)
    dot = (first * second).sum(1)
    degrees = torch.rad2deg(torch.atan2(cross, dot))
    return torch.where((cross == 0) & (dot == 0), 90.0, degrees)
