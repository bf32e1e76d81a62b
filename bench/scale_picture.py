"""The picture of scale: cores, commits and dollars over events a second, both on scales of powers of ten. Nothing but the standard library, and no clock."""

import math
from collections.abc import Callable, Sequence
from html import escape

from scale_constants import ROOT
from scale_model import State

PICTURE = ROOT / "docs/images/scale.svg"
RATES = [10 ** (step / 2) for step in range(13)]
WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 880, 60, 450
LOWEST, HIGHEST = -4, 3
"""Powers of ten of what is drawn."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
PAPER, EDGE, INK, QUIET, GRID = "#f6f8fa", "#d0d7de", "#1f2328", "#57606a", "#d8dee4"
LINES: tuple[tuple[str, str, Callable[[State], float]], ...] = (
    ("cores of gates and workers", "#0a5a8a", lambda state: state.gate_cores + state.worker_cores),
    ("commits a second, Bronze and Silver", "#a05a24", lambda state: state.bronze_commits + state.silver_commits),
    ("dollars a million, without index disks", "#2a7f62", lambda state: state.a_million(state.dollars - state.index_dollars)),
)


def x_of(rate: float) -> float:
    return LEFT + (RIGHT - LEFT) * math.log10(rate) / math.log10(RATES[-1])


def y_of(value: float) -> float:
    power = min(max(math.log10(value), LOWEST), HIGHEST) if value > 0 else LOWEST
    return BOTTOM - (BOTTOM - TOP) * (power - LOWEST) / (HIGHEST - LOWEST)


def path(states: Sequence[State], value: Callable[[State], float]) -> str:
    return "M" + "L".join(f"{x_of(state.load.rate):.1f} {y_of(value(state)):.1f}" for state in states)


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK, size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def described(states: Sequence[State]) -> str:
    """The picture in words, for who does not see it."""
    ends = [f"{name} from {value(states[0]):.2g} to {value(states[-1]):.2g}" for name, _, value in LINES]
    return f"From 1 to 1,000,000 events a second, with the settings as by default: {'; '.join(ends)}. Dashed: the same with the settings moved."


def draw(by_default: Sequence[State], moved: Sequence[State]) -> str:
    """Whole lines are of the defaults, dashed ones of the settings moved."""
    drawn = [f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" fill="{PAPER}" stroke="{EDGE}" stroke-width="1.5"/>']
    drawn.append(text(20, 32, "What a rate asks for, by the model", size=16))
    drawn.append(text(RIGHT, 32, "whole: as by default; dashed: settings moved", "end", QUIET))
    for power in range(LOWEST, HIGHEST + 1):
        y = y_of(10.0**power)
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{GRID}"/>')
        drawn.append(text(LEFT - 8, y + 4, f"{10.0**power:,g}", "end", QUIET))
    for rate in RATES[::2]:
        x = x_of(rate)
        drawn.append(f'<path d="M{x:.1f} {TOP}V{BOTTOM}" stroke="{GRID}"/>')
        drawn.append(text(x, BOTTOM + 20, f"{rate:,.0f}", "middle", QUIET))
    drawn.append(text((LEFT + RIGHT) / 2, BOTTOM + 38, "events a second", "middle", QUIET))
    for number, (name, colour, value) in enumerate(LINES):
        drawn.append(f'<path d="{path(by_default, value)}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>')
        drawn.append(f'<path d="{path(moved, value)}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" stroke-dasharray="6 5"/>')
        x = (20, 245, 510)[number]
        drawn.append(f'<path d="M{x} {HEIGHT - 18}h22" stroke="{colour}" stroke-width="3"/>')
        drawn.append(text(x + 28, HEIGHT - 14, name, size=12))
    body = "\n".join(drawn)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title description" font-family="{FONT}">
<title id="title">Cores, commits and dollars over events a second</title>
<desc id="description">{escape(described(by_default))}</desc>
{body}
</svg>
"""
