#!/usr/bin/env python3
"""Draws fast_cifar.svg: accuracy against seconds of training, of the runs in ../results/fast_cifar.csv. Wants gnuplot.

    python3 docs/pictures/fast_cifar.py

A curve for each program, network and way of testing that was tested more than once on its way; crosses are ends of trainings. The
seconds are those of one machine, by steps timed in turn, as the page beside it says; a run that was made elsewhere counts its steps.
"""
import collections
import csv
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # Okabe and Ito 2008


def main():
    runs = collections.defaultdict(list)  # (what, seed) -> its points
    with open(HERE.parent / "results/fast_cifar.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            runs[row["what"], row["seed"]].append((float(row["seconds"]), float(row["accuracy"])))
    names = list(dict.fromkeys(what for what, _ in runs))
    lines = ["set terminal svg size 900,480 noenhanced background '#ffffff' font 'sans-serif,13'",
             f"set output '{HERE / 'fast_cifar.svg'}'", "set border 3", "set tics nomirror", "set grid lt 1 lw 0.5 lc rgb '#dddddd'",
             "set key bottom right Left reverse", "set xlabel 'seconds of training on two cores'", "set ylabel 'test accuracy'",
             "set xrange [0:1500]", "set yrange [0.45:0.95]"]
    plots, titled = [], set()
    for i, ((what, _), points) in enumerate(runs.items()):
        lines += [f"$p{i} << EOD", *(f"{x} {y}" for x, y in sorted(points)), "EOD"]
        style = "linespoints pt 7 ps 0.5 lw 2" if len(points) > 1 else "points pt 2 ps 1 lw 2"
        title = f"title '{what}'" if what not in titled else "notitle"
        titled.add(what)
        plots.append(f"$p{i} using 1:2 with {style} lc rgb '{COLORS[names.index(what) % len(COLORS)]}' {title}")
    subprocess.run(["gnuplot"], input="\n".join([*lines, "plot " + ", ".join(plots), ""]), text=True, check=True)


if __name__ == "__main__":
    main()
