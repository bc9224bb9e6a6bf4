#!/usr/bin/env python3
"""Tests the committed page of the playground, docs/playground/index.html, in Chromium, from its file:// address:
page_test.py CHROMIUM CHROMEDRIVER [TEST]. CTest runs it where both are found. `page_test.py CHROMIUM CHROMEDRIVER pictures DIR`
takes the screenshots of docs/pictures instead."""

import os
import sys
import time
import unittest

from browser import ELEMENT, Browser

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "docs/playground/index.html")
PAGE = "file://" + FILE
PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromedriver"]

sys.path.insert(0, os.path.join(ROOT, "examples/playground/page"))
import build  # noqa: E402

SETTLED = "document.body.dataset.ready === 'true'"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(*PROGRAMS)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def open(self, rest=""):
        self.browser.open("about:blank")  # so that another hash is another visit
        self.browser.console_errors()
        self.browser.open(PAGE + rest)
        self.browser.wait(SETTLED)

    def tearDown(self):
        self.assertEqual(self.browser.console_errors(), [])

    def step(self):
        return int(self.browser.run("return document.body.dataset.step"))

    def error(self):
        return self.browser.run("return document.getElementById('error').textContent")

    def assert_trains(self):
        before = self.step()
        self.browser.wait(f"Number(document.body.dataset.step) > {before}")
        self.assertEqual(self.error(), "")

    def choose(self, name, value):
        self.browser.run("const e = document.getElementById(arguments[0]); e.value = arguments[1];"
                         "for (const type of ['input', 'change']) e.dispatchEvent(new Event(type, {bubbles: true}))", name, value)
        time.sleep(0.1)

    # ---- the file

    def test_is_one_small_file_of_todays_sources(self):
        self.assertLess(os.path.getsize(FILE), 4_000_000)
        with open(FILE, encoding="utf-8") as file:
            page = file.read()
        self.assertIn(f'name="norma-sources" content="{build.sources_hash()}"', page,
                      "docs/playground/index.html is older than examples/playground: run scripts/playground")
        for sign in ('src="', "@import", 'href="http', "fonts.g", "XMLHttpRequest"):
            self.assertNotIn(sign, page.split('id="worker-code"')[0] + page.split('id="wasm"')[1])

    # ---- training

    def test_trains_to_nine_tenths_by_itself_within_a_minute(self):
        self.browser.open("about:blank")
        begin = time.monotonic()
        self.browser.open(PAGE + "?autorun=1")
        self.browser.wait("Number(document.body.dataset.testAccuracy) >= 0.9", 60)
        print(f"0.9 of the digits {time.monotonic() - begin:.1f} s after the page was opened, "
              f"in {self.step()} steps", file=sys.stderr)

    def test_starts_pauses_and_begins_anew(self):
        self.open()
        self.assertEqual(self.step(), 0)
        self.browser.click("#start")
        self.assert_trains()
        self.browser.click("#start")
        time.sleep(0.5)
        paused = self.step()
        time.sleep(0.5)
        self.assertEqual(self.step(), paused)
        self.browser.click("#restart")
        self.browser.wait("document.body.dataset.step === '0'")

    def test_each_name_takes_effect_in_the_running_training(self):
        self.open("#data=domains&width=8")
        self.browser.click("#start")
        types = {"batch": "BatchNorm", "ghost": "GhostBatchNorm(8)", "group": "GroupNorm(4)", "layer": "LayerNorm",
                 "instance": "InstanceNorm", "half": "HalfInstanceNorm", "rms": "RMSNorm", "domains": "DomainNorm(2)",
                 "tanh": "DynamicTanh", "extended": "Norm(whole x all x each, variance whole x all x all)", "none": "Identity"}
        for name, kind in types.items():
            before = self.step()
            self.browser.click(f"#names button[data-name={name}]")
            self.browser.wait(f"latest.layers.length && latest.layers.every((l) => l.type === '{kind}') && latest.step > {before}")
            self.assertEqual(self.browser.run(f"return document.querySelector('#names [data-name={name}]').ariaPressed"), "true")
        self.assertEqual(self.error(), "")

    def test_the_grid_obeys_sliders_keys_and_the_mouse(self):
        self.open()
        sharing = lambda: self.browser.run("return [settings.sharing.samples, settings.sharing.chunk, settings.sharing.positions, settings.sharing.channels, settings.sharing.groups]")
        self.choose("s-samples", "3")
        self.assertEqual(sharing()[:2], ["chunks", 4])
        self.choose("s-channels", "2")
        self.assertEqual(sharing()[3:], ["groups", 4])
        self.choose("s-positions", "0")  # which no population can have: samples are by themselves then
        self.assertEqual(sharing()[:3], ["each", 4, "each"])
        self.browser.keys("#grid", "\ue015\ue015")  # down twice
        self.assertEqual(sharing()[:3], ["chunks", 2, "all"])
        self.browser.drag("#grid", (0.02, 0.1), (0.02, 0.55))  # in the margin, over half of the samples
        self.assertEqual(sharing()[:2], ["chunks", 16])
        self.browser.drag("#grid", (0.1, 0.01), (0.98, 0.01))
        self.assertEqual(sharing()[3], "all")
        self.browser.drag("#grid", (0.09, 0.1), (0.09, 0.9))  # inside: samples and channels
        self.assertEqual([sharing()[0], sharing()[3]], ["whole", "each"])
        self.assertIn("Batch norm", self.browser.run("return document.getElementById('grid').getAttribute('aria-label')"))

    def test_every_control_works_while_it_trains(self):
        self.open("#network=mlp&width=8&depth=2")
        self.browser.click("#start")
        for name in self.browser.run("return [...document.querySelectorAll('#controls select')].map((e) => e.id)"):
            kept = self.browser.run("return document.getElementById(arguments[0]).value", name)
            for value in self.browser.run("return [...document.getElementById(arguments[0]).options].filter((o) => !o.disabled).map((o) => o.value)", name):
                if (name, value) in (("batch", "1"), ("chunk", "1")):  # a cell of a single value: tested below
                    continue
                self.choose(name, value)
                self.assertEqual(self.browser.run("return document.getElementById(arguments[0]).value", name), value)
                self.browser.wait("latest && latest.step > 0", 60)
                self.assertEqual(self.error(), "", f"{name} = {value}")
            self.choose(name, kept)
        self.choose("data", "digits")
        self.browser.wait("latest && latest.step > 0")
        self.assert_trains()
        for name, value in (("rate", "-2"), ("seed", "7")):
            self.choose(name, value)
            self.assert_trains()
        self.assertEqual(self.browser.run("return [settings.rate, settings.seed]"), [0.01, 7])
        for name in ("affine", "frozen", "shifted"):
            before = self.browser.run("return settings[arguments[0]]", name)
            self.browser.click("#" + name)
            self.assertEqual(self.browser.run("return settings[arguments[0]]", name), not before)
            self.assert_trains()
        for name in ("precise", "adapt"):
            self.browser.click("#" + name)
            self.browser.wait("document.getElementById('status').textContent.includes('2 layers')")

    def test_a_cell_of_one_value_is_an_error_that_says_so_and_the_next_choice_goes_on(self):
        self.open("#network=mlp")
        self.browser.click("#start")
        self.assert_trains()
        self.browser.click("#names button[data-name=instance]")
        self.browser.wait("document.getElementById('error').textContent.includes('single element')")
        self.browser.click("#names button[data-name=layer]")
        self.assertEqual(self.error(), "")
        if self.browser.run("return document.getElementById('start').textContent.includes('on')"):
            self.browser.click("#start")
        self.assert_trains()

    # ---- what the page says

    def test_every_control_has_a_name_in_both_languages(self):
        self.open()
        for language in ("en", "zh"):
            self.choose("language", language)
            for element in self.browser.find_all("button, select, input, canvas"):
                if self.browser.run("return arguments[0].checkVisibility()", {ELEMENT: element}):
                    self.assertNotEqual(self.browser.label(element).strip(), "", self.browser.run("return arguments[0].outerHTML", {ELEMENT: element}))
            missing = self.browser.run("return Object.keys(TEXT.en).filter((k) => !TEXT.zh[k]).concat(Object.keys(TEXT.zh).filter((k) => !TEXT.en[k]))")
            self.assertEqual(missing, [])
        self.assertIn("批归一化", self.browser.run("return document.body.innerText"))
        self.assertEqual(self.browser.run("return document.documentElement.lang"), "zh-Hans")

    def test_the_link_holds_the_settings(self):
        self.open()
        self.choose("language", "zh")
        self.choose("depth", "2")
        self.choose("ema", "0.3")
        self.browser.click("#names button[data-name=ghost]")
        time.sleep(0.5)
        link, state = self.browser.run("return [location.hash, JSON.stringify(settings)]")
        self.open(link)
        self.assertEqual(self.browser.run("return JSON.stringify(settings)"), state)
        self.assertEqual(self.browser.run("return settingsOfPage.language"), "zh")

    def test_hostile_links_are_refused_with_words_and_break_nothing(self):
        for link in ("depth=1e9", "depth=-1", "width=NaN", "rate=Infinity", "batch=0", "batch=Infinity", "samples=%3Cscript%3Ealert(1)%3C/script%3E",
                     "data=spirals&network=cnn", "samples=domains", "groups=3&channels=groups&samples=each", "positions=each",
                     "enabled=maybe", "nothing=1", "__proto__=1", "sharing=1", "seed=0.5", "data=" + "x" * 20000, "%E0%A4%A"):
            with self.subTest(link[:40]):
                self.open("#" + link)
                if link != "%E0%A4%A":
                    self.assertNotEqual(self.error(), "")
                self.assertLess(len(self.error()), 400)
                self.browser.click("#start")
                self.browser.wait("Number(document.body.dataset.step) > 0")
        self.assertTrue(self.browser.run("return document.querySelectorAll('main script').length === 0"))

    def test_nothing_sticks_out_on_a_phone(self):
        try:
            self.browser.size(390, 844)
            for language in ("en", "zh"):
                self.open("#lang=" + language)
                self.browser.click("#start")
                self.browser.wait("latest && latest.layers.length > 0")
                self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), 390)
        finally:
            self.browser.size(1280, 900)

    # ---- the experiments, and whether the figures are what the texts say

    def run_experiment(self, name):
        self.open()
        self.browser.click(f"#experiment-list button[data-id={name}]")
        self.browser.wait("experiment && !experiment.running", 120)
        phases = self.browser.run("""return Object.fromEntries(experiment.spec.phases.map((phase, i) => [phase.id, experiment.rows[i].refused ? null : {
            loss: experiment.rows[i].state.train && experiment.rows[i].state.train.loss,
            population: experiment.rows[i].state.population.accuracy,
            mini_batch: experiment.rows[i].state.mini_batch && experiment.rows[i].state.mini_batch.accuracy,
            flat: experiment.rows[i].state.layers.map((l) => l.values.flat),
            gradient: experiment.rows[i].state.layers.map((l) => l.gradient && l.gradient.rms),
            noise: Math.max(...experiment.rows[i].report.layers.map((l) => l.noise)),
            lag: Math.max(...experiment.rows[i].report.layers.map((l) => l.lag)),
            diverged: experiment.rows[i].state.diverged}]))""")
        cells = self.browser.run("return [...document.querySelectorAll('#results td')].map((e) => e.textContent)")
        self.assertNotIn("", cells)
        return phases

    def test_experiment_scale(self):
        phases = self.run_experiment("scale")
        self.assertLess(phases["large"]["population"], 0.3)
        for other in ("unit", "standard", "norm"):
            self.assertGreater(phases[other]["population"], phases["large"]["population"] + 0.2)

    def test_experiment_saturation(self):
        phases = self.run_experiment("saturation")
        self.assertGreater(phases["none"]["flat"][0], 0.8)
        self.assertLess(phases["batch"]["flat"][0], 0.3)
        self.assertGreater(phases["batch"]["gradient"][0], 100 * phases["none"]["gradient"][0])
        self.assertGreater(phases["batch"]["population"], phases["none"]["population"] + 0.2)

    def test_experiment_affine(self):
        phases = self.run_experiment("affine")
        self.assertLess(phases["learned"]["loss"], 0.8 * phases["fixed"]["loss"])
        self.assertGreater(phases["learned"]["population"], phases["fixed"]["population"] + 0.05)

    def test_experiment_lag(self):
        phases = self.run_experiment("lag")
        self.assertLess(phases["slow"]["population"], phases["slow"]["mini_batch"] - 0.05)
        self.assertGreater(phases["precise"]["population"], phases["slow"]["population"] + 0.05)
        self.assertGreater(phases["slow"]["lag"], 10 * phases["fast"]["lag"])
        self.assertLess(phases["precise"]["lag"], 0.01)

    def test_experiment_small(self):
        phases = self.run_experiment("small")
        self.assertIsNone(phases["one"])
        self.assertLess(phases["two"]["population"], 0.4)
        for other in ("whole", "layer"):
            self.assertGreater(phases[other]["population"], phases["two"]["population"] + 0.2)
        self.assertGreater(phases["two"]["noise"], 10 * phases["whole"]["noise"])

    def test_experiment_leak(self):
        phases = self.run_experiment("leak")
        gap = {name: phase["mini_batch"] - phase["population"] for name, phase in phases.items()}
        self.assertGreater(gap["chunks"], 0.04)
        self.assertLess(abs(gap["whole"]), 0.03)

    def test_experiment_shift(self):
        phases = self.run_experiment("shift")
        self.assertLess(phases["shifted"]["population"], phases["train"]["population"] - 0.3)
        self.assertGreater(phases["adapted"]["population"], phases["train"]["population"] - 0.05)
        self.assertGreater(phases["shifted"]["mini_batch"], phases["train"]["mini_batch"] - 0.05)

    def test_experiment_rates(self):
        phases = self.run_experiment("rates")
        self.assertTrue(phases["none1"]["diverged"])
        for name in ("none01", "batch1", "batch3"):
            self.assertFalse(phases[name]["diverged"])
            self.assertGreater(phases[name]["population"], 0.5)
        self.assertGreater(phases["batch1"]["population"], phases["none01"]["population"])


def take_pictures(folder):
    """Of the first screen and of an experiment, wide and narrow, light and dark."""
    for name, width, height, dark, language, act in (
            ("wide", 1280, 860, False, "en", None), ("dark", 1280, 860, True, "en", "saturation"),
            ("phone", 390, 844, False, "zh", None), ("phone_dark", 390, 844, True, "en", None)):
        browser = Browser(*PROGRAMS, width=width, height=height)
        try:
            browser.open(PAGE + "#lang=" + language)
            browser.wait(SETTLED)
            browser.run("setTheme(arguments[0])", "dark" if dark else "light")
            if act:
                browser.click(f"#experiment-list button[data-id={act}]")
                browser.wait("experiment && !experiment.running", 120)
                browser.run("document.getElementById('experiments').scrollIntoView({behavior: 'instant'})")
            else:
                browser.click("#start")
                browser.wait("Number(document.body.dataset.testAccuracy) > 0.85", 60)
                browser.click("#start")
                browser.run("window.scrollTo(0, 0)")
            time.sleep(0.6)
            browser.picture(os.path.join(folder, f"playground_{name}.png"))
            browser.picture(os.path.join(folder, f"whole_{name}.png"), whole=True)
        finally:
            browser.close()


if __name__ == "__main__":
    if len(sys.argv) >= 3:
        PROGRAMS[:] = sys.argv[1:3]
    if sys.argv[3:4] == ["pictures"]:
        take_pictures(sys.argv[4])
    else:
        unittest.main(argv=[sys.argv[0], *(f"PageTest.{name}" for name in sys.argv[3:])])
