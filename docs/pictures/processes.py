#!/usr/bin/env python3
"""The cost model of ../processes.md: prints its tables, simulates it, and draws processes.svg.

    python3 docs/pictures/processes.py        (needs nothing but Python)

A step is computing, plus exchanges. An exchange in which a process sends m messages of together b bytes, and receives as many,
takes latency + (m - 1) message + b / bandwidth. Which exchanges a step has, and what they send, follows core/workers.cc and
nn/workers.cc; tests/nn/exchanges_test.cc holds the code to it.
"""
import dataclasses
import math
import pathlib
import random

SMALL = 32768  # bytes that go whole to everybody


@dataclasses.dataclass
class Model:
    name: str
    convs: list       # (in, out, kernel)
    norms: list       # channels of each
    features: int     # of the Linear, to 10 classes
    seconds: float    # of one core for a sample, forward and backward: measured

    def tensors(self):
        return len(self.convs) + 2 * len(self.norms) + 2

    def parameters(self):
        return sum(i * o * k * k for i, o, k in self.convs) + 2 * sum(self.norms) + 10 * self.features + 10


def resnet(name, widths, blocks, seconds):
    convs, norms, last = [(3, widths[0], 3)], [widths[0]], widths[0]
    for width in widths:
        for _ in range(blocks):
            convs += [(last, width, 3), (width, width, 3)] + ([(last, width, 1)] if last != width else [])
            norms += [width, width] + ([width] if last != width else [])
            last = width
    return Model(name, convs, norms, widths[-1], seconds)


@dataclasses.dataclass
class Network:
    name: str
    latency: float    # seconds until one small message is there, sent and received
    message: float    # seconds of each further one
    bandwidth: float  # bytes a second, in each direction

    def exchange(self, messages, size):
        return self.latency + (messages - 1) * self.message + size / self.bandwidth if messages else 0


SHARED = Network("shared memory", 0.4e-6, 0.27e-6, 2.0e9)
LOOPBACK = Network("TCP, loopback", 4.6e-6, 4.2e-6, 0.7e9)
TCP10 = Network("10 Gb/s", 15e-6, 4.2e-6, 1.25e9)
TCP100 = Network("100 Gb/s", 15e-6, 4.2e-6, 12.5e9)

RESNET20 = resnet("ResNet-20", [16, 32, 64], 3, 1.32e-3)
RESNET18 = resnet("ResNet-18", [64, 128, 256, 512], 2, 24e-3)


JITTER = 0.01  # the deviation of a step's computing, as a part of it: from what sync took longer below than bn

# Of two processes of 64 samples here: label, norm, network, seconds. Beside them another program had half of the machine, so
# that both together had one core: computing is that of 128 samples.
MEASURED = [("shared memory, bn", "bn", SHARED, 0.1736), ("shared memory, sync", "sync", SHARED, 0.1795),
            ("TCP, bn", "bn", LOOPBACK, 0.1763), ("TCP, sync", "sync", LOOPBACK, 0.1903)]


# ---- what a process sends, with one worker in each of p processes: a list of exchanges, (messages, bytes) ------------------

def all_reduce(p, size):
    if size <= SMALL:
        return [(p - 1, (p - 1) * size)]
    return [(p - 1, size * (p - 1) / p)] * 2  # to each its slice; then from each its sum


def all_gather(p, size):
    return [(p - 1, (p - 1) * size)]


def gradients(model, p):
    return all_reduce(p, 8 * model.tensors()) + all_reduce(p, 4 * model.parameters())


def populations(model, p):
    norms = model.norms
    return all_reduce(p, 8 * len(norms)) + all_reduce(p, 8 * (len(norms) + 2 * sum(norms)))


def sync_layer(channels, p):
    return all_gather(p, 3 * 8 * channels) + all_reduce(p, 2 * 8 * channels)


def sent(exchanges):
    return sum(m for m, _ in exchanges), sum(b for _, b in exchanges)


def averaging(model, p, norm):
    return gradients(model, p) + (populations(model, p) if norm == "bn" else [])


def exchange_seconds(exchanges, network):
    return sum(network.exchange(m, b) for m, b in exchanges)


# ---- the model, and a simulation of it -------------------------------------------------------------------------------------

def step_seconds(model, p, samples, norm, network, speed=1.0):
    """Of a step in which each of p processes, `speed` times as fast as a core here, has so many samples. Nobody is late."""
    exchanges = averaging(model, p, norm) if p > 1 else []
    if norm == "sync" and p > 1:
        exchanges = exchanges + [e for c in model.norms for e in sync_layer(c, p)]
    return samples * model.seconds / speed + exchange_seconds(exchanges, network)


def simulate(model, p, samples, norm, network, steps=20, seed=1):
    """The same, where each part of a process's computing takes a random time: an exchange begins when the last has come. With
    sync a step's computing is cut into parts by the norms' exchanges, 2 a layer; otherwise it is one."""
    draw = random.Random(seed)
    layers = [e for c in model.norms for e in sync_layer(c, p)] if norm == "sync" and p > 1 else []
    rest = exchange_seconds(averaging(model, p, norm), network) if p > 1 else 0
    part = samples * model.seconds / (len(layers) + 1)
    # Of one part, so that a step's computing as a whole deviates by JITTER.
    deviation = JITTER * part * math.sqrt(len(layers) + 1)
    time = 0
    for _ in range(steps):
        for exchange in layers + [None]:
            late = max(draw.gauss(0, deviation) for _ in range(p))
            time += max(part + late, 0) + (network.exchange(*exchange) if exchange else rest)
    return time / steps


def table(title, head, rows):
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main():
    counts = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    rows = []
    for model in (RESNET20, RESNET18):
        for what, of in (("bn", lambda m, p: averaging(m, p, "bn")),
                         ("sync", lambda m, p: averaging(m, p, "sync") + [e for c in m.norms for e in sync_layer(c, p)])):
            for p in (2, 4, 8):
                messages, size = sent(of(model, p))
                rows.append([f"{model.name}, {what}", str(p), str(messages), f"{size / 1e6:.2f} MB"])
    table("What one step sends, each process", ["", "processes", "messages", "bytes"], rows)

    for title, samples_of in (("Weak scaling, 128 samples each: efficiency", lambda p: 128),
                              ("Strong scaling, 1,024 samples in all: speed-up", lambda p: 1024 / p)):
        rows = []
        for model in (RESNET20, RESNET18):
            for network in (TCP10, TCP100):
                for norm in ("bn", "sync"):
                    row = [f"{model.name}, {network.name}, {norm}"]
                    for p in counts:
                        one = step_seconds(model, 1, samples_of(1), norm, network)
                        ratio = one / step_seconds(model, p, samples_of(p), norm, network)
                        row.append(f"{ratio:.2f}" if samples_of(2) == 128 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}")
                    rows.append(row)
        table(title, ["processes", *map(str, counts)], rows)

    rows = []
    for model in (RESNET20, RESNET18):
        for network in (TCP10, TCP100):
            for speed in (1, 100):
                row = [f"{model.name}, {network.name}, {speed} x"]
                for p in counts:
                    layers = exchange_seconds([e for c in model.norms for e in sync_layer(c, p)], network)
                    row.append(f"{math.ceil(layers / 0.15 / (model.seconds / speed)):,}")
                rows.append(row)
    table("Samples of a worker from which sync's exchanges take at most 15 % of its computing", ["processes", *map(str, counts)], rows)

    rows = []
    for label, norm, network, seconds in MEASURED:
        model = step_seconds(RESNET20, 2, 128, norm, network)
        rows.append([label, f"{1e3 * seconds:.1f}", f"{1e3 * model:.1f}", f"{1e3 * simulate(RESNET20, 2, 128, norm, network, 500):.1f}"])
    table("Two processes of one thread, ResNet-20, 64 samples each, ms a step", ["", "measured", "model", "simulation"], rows)
    draw(counts)


# ---- the picture -----------------------------------------------------------------------------------------------------------

INK, FAINT, GRID = "#24292f", "#57606a", "#e4e9ee"
WIDTH, HEIGHT, LEFT, TOP, STEP = 330, 240, 52, 56, 410


def text(x, y, what, size=12, color=INK, anchor="middle", extra=""):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}" {extra}>{what}</text>'


def draw(counts):
    """Efficiency over processes, a panel for each network: lines are the model, points its simulation."""
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + STEP + WIDTH + 20} {TOP + HEIGHT + 84}" '
           'font-family="system-ui, sans-serif">', '<rect width="100%" height="100%" fill="#ffffff"/>']
    lines = [(RESNET20, "bn", "#1f6feb"), (RESNET20, "sync", "#d1570a"), (RESNET18, "bn", "#2da44e"), (RESNET18, "sync", "#8250df")]
    for panel, network in enumerate((TCP10, TCP100)):
        left = LEFT + panel * STEP

        def x(p):
            return left + WIDTH * math.log2(p) / 10

        def y(efficiency):
            return TOP + HEIGHT * (1 - efficiency)
        out.append(text(left + WIDTH / 2, TOP - 18, f"{network.name}, 128 samples a process of one core", 14, extra='font-weight="600"'))
        for i in range(6):
            out.append(f'<path d="M{left} {y(i / 5):g}h{WIDTH}" stroke="{GRID}"/>' + text(left - 8, y(i / 5) + 4, f"{i / 5:.1f}", 12, FAINT, "end"))
        for p in [1, *counts]:
            out.append(text(x(p), TOP + HEIGHT + 18, str(p), 11, FAINT))
        out.append(text(left + WIDTH / 2, TOP + HEIGHT + 38, "processes", 12, FAINT))
        for model, norm, color in lines:
            one = step_seconds(model, 1, 128, norm, network)
            path = " ".join(f"{x(p):.1f},{y(one / step_seconds(model, p, 128, norm, network)):.1f}" for p in [1, *counts])
            out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
            for p in counts:
                efficiency = one / simulate(model, p, 128, norm, network, max(3, 400 // p))
                out.append(f'<circle cx="{x(p):.1f}" cy="{y(efficiency):.1f}" r="3" fill="{color}"/>')
    out.append(text(18, TOP + HEIGHT / 2, "efficiency", 12, FAINT, extra=f'transform="rotate(-90 18 {TOP + HEIGHT / 2:g})"'))
    for i, (model, norm, color) in enumerate(lines):
        at = LEFT + i * 150
        out.append(f'<path d="M{at} {TOP + HEIGHT + 66}h24" stroke="{color}" stroke-width="2"/>'
                   + text(at + 30, TOP + HEIGHT + 70, f"{model.name}, {norm}", 12, INK, "start"))
    out.append(text(LEFT + 4 * 150, TOP + HEIGHT + 70, "points: simulated", 12, FAINT, "start"))
    out.append("</svg>")
    pathlib.Path(__file__).with_suffix(".svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
