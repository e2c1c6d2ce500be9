"""What the figures here share: where matplotlib comes from, one look, and files that are the same for the same numbers."""
import os
import sys

os.environ["MPLBACKEND"] = "agg"  # files, no windows, whatever the user set
try:
    import matplotlib
    import numpy as np
except ImportError:
    matplotlib = None  # said by pyplot(): what needs no picture works without

# Okabe and Ito's colours, which the colour-blind tell apart; the first two differ in brightness as well
CYCLE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#222222")
COLOURS = {"blue": CYCLE[0], "orange": CYCLE[1], "ink": "#222222", "grey": "#8C8C8C", "pale": "#E4E4E4"}
RADII = ((3, 0), (0, 3))  # a disc is two lines to what keeps off it


def clean(text):
    return "".join(c if c.isprintable() else "?" for c in text)  # XML cannot hold the others


def short(value):
    return "%.3g" % value if value < 1000 else "%.0f" % value


def pyplot():
    """matplotlib.pyplot, with nothing of a user's own settings; ends the script in one line where it is not installed."""
    if not matplotlib:
        sys.exit("%s: needs matplotlib: pip install matplotlib" % os.path.basename(sys.argv[0]))
    matplotlib.rcdefaults()
    matplotlib.rcParams.update({
        "svg.hashsalt": "kdiffe",  # without it every file has other ids
        "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and compared by a test
        "text.parse_math": False,  # names of files and ops are no formulas
        "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "figure.dpi": 150, "figure.facecolor": "white",
        "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": COLOURS["grey"], "axes.axisbelow": True,
        "axes.grid": True, "grid.color": COLOURS["pale"], "text.color": COLOURS["ink"], "axes.labelcolor": COLOURS["ink"],
        "axes.prop_cycle": matplotlib.cycler(color=CYCLE)})
    import matplotlib.pyplot as plt
    return plt


def save(figure, path):
    """Writes .svg or .png, beside it and renames: a figure is whole or not there. A date would make equal figures differ."""
    kind = os.path.splitext(path)[1][1:]
    beside = "%s.tmp.%d" % (path, os.getpid())
    try:
        figure.savefig(beside, format=kind, metadata={"Date": None} if kind == "svg" else None)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def log_axis(axis, low, high):
    from matplotlib.ticker import FuncFormatter, NullFormatter
    getattr(axis.axes, "set_%sscale" % axis.axis_name)("log")
    getattr(axis.axes, "set_%slim" % axis.axis_name)(low, high)
    axis.set_major_formatter(FuncFormatter(lambda value, _: "%.12g" % value))
    axis.set_minor_formatter(NullFormatter())


def crossed(a, b, lines):
    """How many of the lines a-b crosses; touching is not crossing. lines: an array of (ends, x or y) each."""
    side = lambda p, q, r: (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
    c, d = lines[:, 0], lines[:, 1]
    return int(((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)).sum())


def within(lines, box):
    """How much of the lines lies in a box: ends, and crossings of a diagonal; 0: nothing."""
    ends = ((lines > box[:2]) & (lines < box[2:])).all(-1).sum()
    return int(ends) + crossed(box[:2], box[2:], lines) + crossed(box[[0, 3]], box[[2, 1]], lines)


def spots(point, width, height):
    """Places for a label: how far off, where a line from the point meets it, its box."""
    for distance in range(5, 200, 4):
        for dx, dy in ((1, 0), (-1, 0), (.8, .6), (.8, -.6), (-.8, .6), (-.8, -.6), (.4, .9), (.4, -.9), (-.4, .9), (-.4, -.9)):
            x, y = end = point + distance * np.array((dx, dy))
            yield distance, end, np.array((x - width * (dx < 0), y - height / 2, x + width * (dx > 0), y + height / 2))


def cost(spot, point, others, lines, boxes):
    """How bad a place for a name is, in points: its distance, and what is worse. boxes are where the other names are."""
    distance, end, box = spot
    hides = within(lines, box) + ((boxes[:, :2] < box[2:]) & (box[:2] < boxes[:, 2:])).all(1).sum()
    hides += sum(within(np.array([(point, end)]), b) for b in boxes)
    gaps = np.linalg.norm(np.maximum(0, np.maximum(box[:2] - others, others - box[2:])), axis=1)
    return distance + 200 * hides + 15 * crossed(point, end, lines) + 3 * np.maximum(0, 7 - gaps).sum()


def label(axes, points, lines, discs):
    """Writes each point's name by it, with a thin line unless it is beside it: off the lines, the discs and other names, and
    rather not where it could be taken for another point's.

    points: {name: (x, y)}. All of it is counted in points, which a file of any resolution keeps; the axes have their final
    size by now."""
    scale = 72 / axes.figure.dpi
    place = lambda xy: axes.transData.transform(xy) * scale
    frame = axes.get_window_extent().extents * scale
    at = {name: place(xy) for name, xy in points.items()}
    lines = np.array([place(ends) for ends in lines] + [(place(xy) - d, place(xy) + d) for xy in discs for d in RADII])
    texts = {name: axes.annotate(name, xy, fontsize=8, va="center", zorder=5) for name, xy in points.items()}
    sizes = {name: text.get_window_extent().size * scale + (1, 0) for name, text in texts.items()}
    placed = {}
    for name in sorted(at, key=lambda n: (-at[n][1], n)) * 3:  # again, now that the others have places
        placed.pop(name, None)
        around = (np.array([at[n] for n in at if n != name]).reshape(-1, 2),
                  np.concatenate([lines] + [[(at[n], end)] for n, (_, end, _) in placed.items()]),
                  np.array([box for _, _, box in placed.values()]).reshape(-1, 4))
        least = np.inf
        for spot in spots(at[name], *sizes[name]):
            if spot[0] >= least:
                break
            if (spot[2][:2] < frame[:2]).any() or (spot[2][2:] > frame[2:]).any():
                continue
            bad = cost(spot, at[name], *around)
            if bad < least:
                least, placed[name] = bad, spot
    for name, (distance, end, _) in placed.items():
        texts[name].remove()
        left = end[0] > at[name][0]
        thin = {"arrowstyle": "-", "color": COLOURS["grey"], "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2,
                "relpos": (1 - left, 0.5)}
        axes.annotate(name, points[name], end - at[name], textcoords="offset points", fontsize=8, va="center", zorder=5,
                      ha="left" if left else "right", arrowprops=thin if distance > 5 else None)
