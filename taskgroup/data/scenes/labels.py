"""Exact labels of a scene, from its geometry; the format each is stored in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.scenes.casting import Hits, Indices
from taskgroup.data.scenes.layout import UP, Scene
from taskgroup.data.scenes.shapes import SHAPE_NAMES, Floats, transform
from taskgroup.data.scenes.textures import ROOM_FACES
from taskgroup.tasks.base import IGNORE

SEGMENTATION_CLASSES = ("wall", "floor", "ceiling", *SHAPE_NAMES)
PART_CLASSES = ("room", "bottom", "middle", "top")
SUPERCLASSES = ("flat-faced", "round", "turned")
SUPERCLASS_OF = {
    "box": 0,
    "pyramid": 0,
    "prism": 0,
    "sphere": 1,
    "ellipsoid": 1,
    "cylinder": 2,
    "cone": 2,
}
"""Superclass of each shape: flat faces only; curved in every direction; straight and round."""
CURVATURE_UNIT = 4.0
"""Curvature is stored in units of 4/metre, so that a ball of 25 cm has 1."""
CURVATURE_LIMIT = 4.0
"""Largest stored curvature; a cone's grows without bound towards its apex."""
OCCLUSION_GAP = 0.05
"""Depth in metres, beyond what slopes explain, that parts two surfaces at an occlusion edge."""
KEYPOINT_SCALE = 2.0
"""Keypoints are 1 where normals turn by half a radian per pixel in their flattest direction."""

_FACE_CLASS = np.array([0, 0, 1, 2, 0, 0], dtype=np.uint8)


@dataclass(frozen=True)
class Format:
    """How one label is stored: ``values = stored * scale``.

    Attributes:
        dtype: Stored type.
        channels: Channels of a map; 0 for a class map; None for one class number per image.
        scale: Factor from stored to delivered values; 1 for classes.
    """

    dtype: type[np.generic]
    channels: int | None
    scale: float = 1.0

    @property
    def is_class(self) -> bool:
        """Whether the label is class numbers rather than measures."""
        return not self.channels

    def shape(self, size: int) -> tuple[int, ...]:
        """Shape of one sample's label in a picture of ``size`` x ``size``."""
        if self.channels is None:
            return ()
        return (size, size) if self.channels == 0 else (self.channels, size, size)


FORMATS: dict[str, Format] = {
    "segmentation": Format(np.uint8, 0),
    "parts": Format(np.uint8, 0),
    "classification": Format(np.uint8, None),
    "superclass": Format(np.uint8, None),
    "saliency": Format(np.uint8, 1),
    "occlusion_edges": Format(np.uint8, 1),
    "depth": Format(np.uint16, 1, 1 / 4096),
    "normals": Format(np.int16, 3, 1 / 32767),
    "curvature": Format(np.float16, 2),
    "reshading": Format(np.uint8, 1, 1 / 255),
    "albedo": Format(np.uint8, 3, 1 / 255),
    "keypoints3d": Format(np.float16, 1),
}
"""Every label from geometry. Those from the picture are added where they are computed."""


def geometric_labels(
    scene: Scene, hits: Hits, colours: Floats, size: int
) -> dict[str, NDArray[np.generic]]:
    """All labels of :data:`FORMATS`, in their stored types and shapes.

    Args:
        scene: The scene.
        hits: What its pixels show.
        colours: Albedo ``(3, P)`` in [0, 1].
        size: Height and width in pixels.
    """
    main, kind = _main_solid(scene, hits)
    camera_normals = transform(scene.camera.rotation.T, hits.normals)
    values: dict[str, NDArray[np.generic]] = {
        "segmentation": _class_table(scene)[hits.surface],
        "parts": _parts(scene, hits),
        "classification": np.array(IGNORE if kind is None else kind),
        "superclass": np.array(IGNORE if kind is None else SUPERCLASS_OF[SHAPE_NAMES[kind]]),
        "saliency": hits.surface == main,
        "occlusion_edges": _occlusion_edges(hits, size),
        "depth": hits.depth,
        "normals": camera_normals,
        "curvature": np.clip(hits.curvatures / CURVATURE_UNIT, -CURVATURE_LIMIT, CURVATURE_LIMIT),
        "reshading": _reshading(hits),
        "albedo": colours,
        "keypoints3d": _keypoints(camera_normals, size),
    }
    return {
        name: _store(values[name], form).reshape(form.shape(size)) for name, form in FORMATS.items()
    }


def _store(values: NDArray[np.generic], form: Format) -> NDArray[np.generic]:
    """Values in the stored type, rounded to its steps."""
    if form.scale != 1:
        values = np.rint(values.astype(np.float32) * np.float32(1 / form.scale))
    return values.astype(form.dtype)


def _main_solid(scene: Scene, hits: Hits) -> tuple[int, int | None]:
    """Surface number of the solid with the most pixels, and its shape; (-1, None) if none shows."""
    counts = [len(pixels) for pixels in hits.members[ROOM_FACES:]]
    best = int(np.argmax(counts))
    if counts[best] == 0:
        return -1, None
    return ROOM_FACES + best, scene.solids[best].shape


def _class_table(scene: Scene) -> NDArray[np.uint8]:
    """Segmentation class of each room face and solid."""
    solids = [3 + solid.shape for solid in scene.solids]
    return np.concatenate([_FACE_CLASS, np.array(solids, dtype=np.uint8)])


def _parts(scene: Scene, hits: Hits) -> NDArray[np.uint8]:
    """Third of its solid's height that each pixel lies in: 0 room, 1 bottom, 2 middle, 3 top."""
    parts = np.zeros(len(hits.depth), dtype=np.uint8)
    for solid, pixels in zip(scene.solids, hits.members[ROOM_FACES:], strict=True):
        low, high = solid.centre[1] - solid.reach(-UP), solid.centre[1] + solid.reach(UP)
        share = (hits.points[1, pixels] - np.float32(low)) * np.float32(3 / (high - low))
        parts[pixels] = 1 + np.clip(share, 0, 2).astype(np.uint8)
    return parts


def _reshading(hits: Hits) -> Floats:
    """Shading by a light at the camera: cosine between the normal and the way to the camera."""
    lengths = np.sqrt((hits.rays * hits.rays).sum(axis=0))
    cosine: Floats = np.clip(-(hits.rays * hits.normals).sum(axis=0) / lengths, 0, 1)
    return cosine


def _occlusion_edges(hits: Hits, size: int) -> NDArray[np.uint8]:
    """Pixels of a solid that hides the one beside them (4-neighbours), ``(P,)`` 0 or 1.

    All solids are convex and so is the room: only a solid hides, and only another body. Contacts,
    where depth is continuous, are no edges.
    """
    marked = np.zeros(len(hits.depth), dtype=np.uint8)
    solid_depth = np.where(hits.surface < ROOM_FACES, np.inf, hits.depth)
    bodies = np.maximum(hits.surface, ROOM_FACES - 1).reshape(size, size)
    pixels = np.arange(size * size).reshape(size, size)
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        change = bodies[first] != bodies[second]
        one, other = pixels[first][change], pixels[second][change]
        swap = solid_depth[one] > solid_depth[other]
        near, far = np.where(swap, other, one), np.where(swap, one, other)
        marked[near[_is_parted(hits, near, far)]] = 1
    return marked


def _is_parted(hits: Hits, near: Indices, far: Indices) -> NDArray[np.bool_]:
    """Whether depth jumps between neighbours, the first of them on a solid.

    They touch when the far surface's plane reaches the near point within one pixel of its own
    slope; or, where something stands on a solid's flat top, the other way round.
    """
    behind = _unexplained(hits, far, near) > OCCLUSION_GAP
    flat_top = (hits.curvatures[0, near] == 0) & (hits.surface[far] >= ROOM_FACES)
    touches = flat_top & (_unexplained(hits, near, far) <= OCCLUSION_GAP)
    parted: NDArray[np.bool_] = behind & ~touches
    return parted


def _unexplained(hits: Hits, one: Indices, other: Indices) -> Floats:
    """Depth between one's tangent plane and the other's surface, less the plane's own slope.

    Both are measured on the other's ray; the slope is the plane's change of depth between the rays.
    """
    normals, here, there = hits.normals[:, one], hits.rays[:, one], hits.rays[:, other]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (normals * here).sum(axis=0) / (normals * there).sum(axis=0)
    continued = np.where(ratio > 0, hits.depth[one] * ratio, np.float32(1e6))
    slope = np.abs(continued - hits.depth[one])
    gap: Floats = np.abs(continued - hits.depth[other]) - slope
    return gap


def _keypoints(camera_normals: Floats, size: int) -> Floats:
    """How much each pixel is a corner of the geometry, ``(P,)``, at least 0.

    The square root of the smaller eigenvalue of the structure tensor (Shi and Tomasi 1994) of the
    normals: high where the surface turns in both image directions, at corners, apexes and where
    solids meet edges; it does not see texture or light.
    """
    maps = camera_normals.reshape(3, size, size)
    across, down = np.zeros_like(maps), np.zeros_like(maps)
    across[:, :, 1:-1] = maps[:, :, 2:] - maps[:, :, :-2]
    down[:, 1:-1] = maps[:, 2:] - maps[:, :-2]
    xx, yy, xy = (
        _smooth((first * second).sum(axis=0)) * np.float32(0.25)
        for first, second in ((across, across), (down, down), (across, down))
    )
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy * xy)
    smaller = np.maximum(np.float32(0.5) * (xx + yy - spread), 0)
    response: Floats = (np.float32(KEYPOINT_SCALE) * np.sqrt(smaller)).reshape(-1)
    return response


def _smooth(maps: Floats) -> Floats:
    """Binomial 5 x 5 mean of a map ``(H, W)``; borders repeat the outermost pixel."""
    size = len(maps)
    padded = np.pad(maps, 2, mode="edge")
    rows = np.zeros((size, size + 4), dtype=np.float32)
    for i, weight in enumerate(_BINOMIAL):
        rows += weight * padded[i : i + size]
    smooth = np.zeros_like(maps)
    for i, weight in enumerate(_BINOMIAL):
        smooth += weight * rows[:, i : i + size]
    return smooth


_BINOMIAL = tuple(np.float32(w / 16) for w in (1, 4, 6, 4, 1))
