"""From surfaces to a picture: textures, lights with shadows, highlights, exposure, sensor noise."""

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.scenes.casting import Hits, Indices, within_cone
from taskgroup.data.scenes.layout import Light, Scene
from taskgroup.data.scenes.shapes import Floats, crossing
from taskgroup.data.scenes.textures import ROOM_FACES, albedo

SHADOW_SLACK = np.float32(0.999)
"""Share of the way from a light to a point in which something may stand between them."""
FALL_OFF = 4.0
"""Distance in metres at which a light has faded to half of what it is nearby."""
MIDDLE_GREY = 0.22
"""Mean linear brightness that the exposure aims at."""


def paint(scene: Scene, hits: Hits) -> Floats:
    """Albedo of every pixel, ``(3, P)`` in [0, 1]."""
    colours = np.empty_like(hits.points)
    for texture, pixels in zip(scene.textures, hits.members, strict=True):
        if len(pixels):
            colours[:, pixels] = albedo(texture, hits.local[:, pixels])
    return colours


def illuminate(scene: Scene, hits: Hits, colours: Floats) -> Floats:
    """Linear light that reaches the camera, ``(3, P)``, at least 0.

    Args:
        scene: The scene.
        hits: What its pixels show.
        colours: Albedo ``(3, P)``.
    """
    facing_up = np.float32(0.85) + np.float32(0.15) * hits.normals[1]
    light_sum = scene.ambient.astype(np.float32)[:, None] * facing_up
    shine = np.zeros_like(light_sum)
    glossy = _glossy_pixels(scene, hits)
    for light in scene.lights:
        strength, towards = _direct_light(scene, hits, light)
        light_sum += light.colour.astype(np.float32)[:, None] * strength
        if len(glossy):
            shine[:, glossy] += _highlight(hits, glossy, towards, strength)
    arriving: Floats = colours * light_sum + shine * _gloss(scene, hits)
    return arriving


def _glossy_pixels(scene: Scene, hits: Hits) -> Indices:
    return np.concatenate(
        [m for m, t in zip(hits.members, scene.textures, strict=True) if t.gloss > 0]
        or [np.empty(0, dtype=np.intp)]
    )


def _gloss(scene: Scene, hits: Hits) -> Floats:
    table = np.array([texture.gloss for texture in scene.textures], dtype=np.float32)
    return table[hits.surface]


def _direct_light(scene: Scene, hits: Hits, light: Light) -> tuple[Floats, Floats]:
    """Strength ``(P,)`` of a light on each pixel's surface, and unit vectors ``(3, P)`` to it."""
    from_light = hits.points - light.position.astype(np.float32)[:, None]
    squared = (from_light * from_light).sum(axis=0)
    distance = np.sqrt(squared)
    towards = from_light / -distance
    cosine = np.maximum((towards * hits.normals).sum(axis=0), 0)
    strength = cosine * (2 / (1 + squared / np.float32(FALL_OFF**2)))
    for number, solid in enumerate(scene.solids):
        shaded = within_cone(from_light, distance, solid.centre - light.position, solid.radius)
        own = hits.surface[shaded] == ROOM_FACES + number  # convex: no shadow on itself
        shaded = shaded[~own & (strength[shaded] > 0)]
        if len(shaded):
            enter, leave = crossing(solid, light.position, from_light[:, shaded])
            hidden = (enter < leave) & (leave > 0) & (enter < SHADOW_SLACK)
            strength[shaded[hidden]] = 0
    return strength, towards


def _highlight(
    hits: Hits,
    pixels: Indices,
    towards: Floats,
    strength: Floats,
) -> Floats:
    """Blinn's highlight with exponent 32 of one light on some pixels, ``(M,)``."""
    rays = hits.rays[:, pixels]
    halfway = towards[:, pixels] - rays / np.sqrt((rays * rays).sum(axis=0))
    length = np.sqrt((halfway * halfway).sum(axis=0)) + np.float32(1e-6)
    cosine = np.maximum((halfway * hits.normals[:, pixels]).sum(axis=0) / length, 0)
    for _ in range(5):
        cosine = cosine * cosine
    highlight: Floats = cosine * (strength[pixels] > 0)
    return highlight


def develop(scene: Scene, light: Floats, size: int) -> NDArray[np.uint8]:
    """The picture that the sensor makes of linear light ``(3, P)``: ``(3, size, size)`` uint8.

    Exposure to a fixed mean, a lens blur of half a pixel, gamma 2, then Gaussian noise.
    """
    exposure = min(max(MIDDLE_GREY / float(light.mean()), 0.3), 3.0)
    picture = np.sqrt(_blur((exposure * light).reshape(3, size, size)))
    noise = np.random.Generator(np.random.SFC64(scene.sensor_seed))
    picture += np.float32(scene.noise) * noise.standard_normal(picture.shape, dtype=np.float32)
    levels: NDArray[np.uint8] = np.clip(picture * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels


def _blur(picture: Floats) -> Floats:
    """Blur with ``(1, 6, 1) / 8`` down and across; the border rows and columns stay sharp."""
    centre, side = np.float32(0.75), np.float32(0.125)
    rows = picture.copy()
    rows[:, 1:-1] = centre * picture[:, 1:-1] + side * (picture[:, :-2] + picture[:, 2:])
    blurred = rows.copy()
    blurred[:, :, 1:-1] = centre * rows[:, :, 1:-1] + side * (rows[:, :, :-2] + rows[:, :, 2:])
    return blurred
