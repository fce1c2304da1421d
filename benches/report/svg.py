"""The few shapes that the charts of this repository are made of."""

from __future__ import annotations

#: The same in every chart.
COLOURS = {"celery": "#8a8a8a", "celeriac": "#2a7a3b"}
FONT = 'font-family="sans-serif" font-size="11"'
#: Of whatever is neither.
OTHERS = "#b9a26a"


def document(width: float, height: float, parts: list[str]) -> str:
    """A whole file on a white ground."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {FONT}>',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        *parts,
        "</svg>",
        "",
    ])  # fmt: skip


def text(x: float, y: float, words: str, colour: str = "#222", *, anchor: str = "start") -> str:
    """A piece of text."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}">{words}</text>'


def bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def line(start: tuple[float, float], end: tuple[float, float], more: str) -> str:
    """A line; `more` are its other attributes."""
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def span(values: tuple[float, ...]) -> tuple[float, float]:
    """The ends of an axis."""
    least, most = min(values), max(values)
    return (least, most) if most > least else (least / 2, most * 2)


def short(value: float) -> str:
    """A number in few characters."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.2g}"
