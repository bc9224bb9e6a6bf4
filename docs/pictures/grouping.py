#!/usr/bin/env python3
"""Draws grouping.svg, the picture in ../normalization.md: which elements of a batch share a mean and a variance.

    python3 docs/pictures/grouping.py        (needs nothing but Python)

Each panel is the plane of samples (down) and channels (across); a sample is cut into its positions by faint lines. One
cell, all of whose elements share their statistics, is filled; the outlines are the others. Where the variance is of more
elements than the mean, these have a colour of their own.
"""
import pathlib

SAMPLES, CHANNELS, POSITIONS = 6, 6, 4
SIZE = 24                     # of one sample of one channel
PLANE = SIZE * SAMPLES
STEP_X, STEP_Y = 206, 252     # from panel to panel
LEFT, TOP = 46, 78            # of the plane in its panel
INK, FAINT, PALE, STRONG, DEEP, WIDE = "#24292f", "#57606a", "#dbe4ee", "#f2a33a", "#8a4b08", "#7fb8a4"

# title, code, elements of a cell; sets of samples; channels a group; whether each position is by itself; channels that share
# a variance, if more
WHOLE, EACH = [range(6)], [[n] for n in range(6)]
ROWS = [
    ("over the samples: a sample's output depends on the others", [
        ("BatchNorm", "whole()", "M = N P", WHOLE, 1, False),
        ("Ghost BatchNorm", "chunks(2)", "M = 2 P", [[0, 1], [2, 3], [4, 5]], 1, False),
        ("Domain BatchNorm", "labels(ids, 2)", "M = N₀ P", [[0, 2, 3], [1, 4, 5]], 1, False),
        ("SyncBatchNorm", "across(comm)", "M = (N₀ + N₁) P", WHOLE, 1, False),
        ("Batch group norm", "{whole, all, groups(2)}", "M = N P C / 2", WHOLE, 3, False)]),
    ("within a sample: the same in training and in evaluation, at any batch size", [
        ("InstanceNorm", "instance()", "M = P", EACH, 1, False),
        ("GroupNorm", "groups(2)", "M = P C / 2", EACH, 3, False),
        ("LayerNorm, sample", "layer()", "M = P C", EACH, 6, False),
        ("LayerNorm, features", "features()", "M = C", EACH, 6, True),
        ("Half InstanceNorm", "instance(), half", "M = P", EACH, 1, False)]),
    ("a mean of each channel, a variance of more", [
        ("Extended BatchNorm", "whole(), scale: all", "M = N P and N P C", WHOLE, 1, False, 6),
        ("... by groups", "whole(), scale: groups(2)", "M = N P and N P C / 2", WHOLE, 1, False, 3),
        ("Channel mean, layer scale", "instance(), scale: layer()", "M = P and P C", EACH, 1, False, 6)]),
]


def text(x, y, what, size=12, color=INK, anchor="middle", extra=""):
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}" {extra}>{what}</text>'


def box(x, y, w, h, fill="none", stroke="none", width=1.0, extra=""):
    return f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" stroke="{stroke}" stroke-width="{width}" {extra}/>'


def runs(samples):
    """Consecutive ones: [0, 2, 3] -> (0, 1), (2, 2) as (first, count)."""
    found = []
    for n in samples:
        if found and found[-1][0] + found[-1][1] == n:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((n, 1))
    return found


def panel(left, top, title, code, elements, sets, group, each, wide=0):
    out = [text(left + PLANE / 2, top - 46, title, 14, extra='font-weight="600"'),
           text(left + PLANE / 2, top - 29, code, 12, FAINT, extra='font-family="ui-monospace, Menlo, Consolas, monospace"')]
    normalized = CHANNELS // 2 if "half" in code else CHANNELS
    split = 3 if title.startswith("Sync") else SAMPLES  # the samples of the second worker stand apart

    def row(n):
        return top + n * SIZE + (6 if n >= split else 0)

    def cell(samples, first, fill, stroke, width, channels=group):
        """All that one cell covers, as rectangles."""
        pieces = []
        for start, count in runs(samples):
            for begin, end in ((start, min(start + count, split)), (max(start, split), start + count)):
                if begin < end:
                    pieces.append(box(left + first * SIZE, row(begin), channels * SIZE, (end - begin) * SIZE, fill, stroke, width))
        return pieces

    cells = [(samples, first) for samples in sets for first in range(0, normalized, group)]
    for samples, first in cells:
        out += cell(samples, first, PALE, "none", 0)
    if normalized < CHANNELS:
        x = left + normalized * SIZE
        out += [box(x, top, PLANE / 2, PLANE, "none", FAINT, 1, 'stroke-dasharray="3 3"'),
                text(x + PLANE / 4, top + PLANE / 2 - 3, "pass", 12, FAINT), text(x + PLANE / 4, top + PLANE / 2 + 12, "through", 12, FAINT)]
    if wide:
        out += cell(*cells[0], WIDE, "none", 0, wide)
    if each:
        out.append(box(left, top, PLANE, SIZE / POSITIONS, STRONG))
    else:
        out += cell(*cells[0], STRONG, "none", 0)
    for n in range(SAMPLES):  # elements
        for p in range(1, POSITIONS):
            y = row(n) + p * SIZE / POSITIONS
            out.append(f'<path d="M{left} {y:g}h{normalized * SIZE}" stroke="{FAINT if each else "#ffffff"}" stroke-width="{0.8 if each else 0.5}"/>')
        if n and row(n) - row(n - 1) == SIZE:
            out.append(f'<path d="M{left} {row(n)}h{normalized * SIZE}" stroke="#ffffff" stroke-width="1.4"/>')
    for c in range(1, normalized):
        out.append(f'<path d="M{left + c * SIZE} {top}v{row(SAMPLES - 1) + SIZE - top}" stroke="#ffffff" stroke-width="1.2"/>')
    for samples, first in cells:
        out += cell(samples, first, "none", FAINT, 1.1)
    if each:
        out.append(box(left, top, PLANE, SIZE / POSITIONS, "none", DEEP, 1.8))
    else:
        out += cell(*cells[0], "none", DEEP, 2)
    if wide:
        out += cell(*cells[0], "none", DEEP, 1.4, wide)

    bottom = row(SAMPLES - 1) + SIZE
    if title.startswith("Domain"):
        out += [text(left - 8, row(n) + 16, int(n in sets[1]), 11, DEEP if n in sets[0] else FAINT, "end") for n in range(SAMPLES)]
    elif title.startswith("Sync"):
        for worker, middle in ((0, top + 1.5 * SIZE), (1, row(3) + 1.5 * SIZE)):
            out.append(text(left - 10, middle, f"worker {worker}", 11, FAINT, extra=f'transform="rotate(-90 {left - 10} {middle})"'))
    out.append(text(left + PLANE / 2, bottom + 20, elements, 12, extra='font-style="italic"'))
    return out


def main():
    width, height = 5 * STEP_X + 54, 3 * STEP_Y + 130
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img">',
           "<title>Groupings of a batch: which elements share a mean and a variance</title>",
           box(0.5, 0.5, width - 1, height - 1, "#ffffff", "#d0d7de", 1, 'rx="10"')]
    for i, (heading, panels) in enumerate(ROWS):
        top = 28 + i * (STEP_Y + 22)
        out.append(text(LEFT, top + 4, heading, 13, FAINT, "start"))
        for j, of_panel in enumerate(panels):
            out += panel(LEFT + j * STEP_X, top + TOP, *of_panel)
            if j == 0:  # the axes
                x, y = LEFT, top + TOP
                out += [text(x - 10, y + PLANE / 2, "samples", 11, FAINT, extra=f'transform="rotate(-90 {x - 10} {y + PLANE / 2})"'),
                        text(x + PLANE / 2, y - 7, "channels", 11, FAINT)]
    y = height - 22
    out += [box(LEFT, y - 12, 26, 14, STRONG, DEEP, 1.8), text(LEFT + 34, y, "one cell: M elements, one mean, one variance", 12, INK, "start"),
            box(LEFT + 336, y - 12, 26, 14, PALE, FAINT, 1.1), text(LEFT + 370, y, "the other cells", 12, INK, "start"),
            box(LEFT + 484, y - 12, 26, 14, WIDE, DEEP, 1.4), text(LEFT + 518, y, "what else shares its variance", 12, INK, "start"),
            text(LEFT + 710, y, "N samples, P positions, C channels", 12, FAINT, "start"),
            "</svg>"]
    pathlib.Path(__file__).with_suffix(".svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
