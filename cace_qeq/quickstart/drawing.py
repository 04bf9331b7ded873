"""A silver trimer as a small drawing in SVG."""

import numpy as np

from cace_qeq.quickstart.shapes import Shape

SCALE = 34.0  # pixels for 1 Å
WIDTH, HEIGHT, RADIUS = 230, 150, 21
POSITIVE, NEGATIVE = (196, 62, 44), (40, 92, 178)


def drawn(shape: Shape) -> str:
    """The three atoms with their charges, coloured by them, and lines for bonds under 3.4 Å."""
    points = placed(shape)
    pairs = zip(((0, 1), (1, 2), (0, 2)), shape.distances, strict=True)
    lines = "".join(line(points[i], points[j]) for (i, j), distance in pairs if distance < 3.4)
    circles = "".join(circle(point, charge) for point, charge in zip(points, shape.charges, strict=True))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">{lines}{circles}</svg>'


def placed(shape: Shape) -> list[tuple[float, float]]:
    """Pixels of end, middle and end; the ends on a horizontal line."""
    left, right, span = shape.distances
    along = (left**2 - right**2 + span**2) / (2 * span)
    height = np.sqrt(max(left**2 - along**2, 0.0))
    corners = np.array([[0.0, 0.0], [along, height], [span, 0.0]]) * [SCALE, -SCALE]
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return [(float(x), float(y)) for x, y in corners - middle + [WIDTH / 2, HEIGHT / 2]]


def line(start: tuple[float, float], end: tuple[float, float]) -> str:
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        'stroke="#999" stroke-width="5"/>'
    )


def circle(centre: tuple[float, float], charge: float) -> str:
    x, y = centre
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{colour(charge)}" stroke="#444"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12">{charge:+.2f}</text>'
    )


def colour(charge: float) -> str:
    """Red for positive, blue for negative, the paler the smaller; full at 1 e."""
    share = min(abs(charge), 1.0) ** 0.5
    full = POSITIVE if charge > 0 else NEGATIVE
    red, green, blue = (round(255 + share * 0.7 * (value - 255)) for value in full)
    return f"rgb({red},{green},{blue})"
