"""python3 -m unittest benches/comparison/growth_tests.py: what grow, callbacks_first and replicas compute."""

import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from comparison import curve, fleet, growth, klarna, platform_paper  # noqa: E402


class Quantiles(unittest.TestCase):
    def test_of_callbacks_that_never_came_are_the_longest(self):
        self.assertEqual(klarna.quantile([0.2, None, 0.1], 0.5), 0.2)
        self.assertEqual(klarna.quantile([0.2, None, 0.1], 0.99), float("inf"))

    def test_of_several_replicas_count_each_by_its_callbacks(self):
        slow, fast = [(100.0, 1.0)] * 10, [(1.0, 99.0)] * 10
        self.assertEqual(fleet.quantiles(slow + fast), {50: 1.0, 99: 1.0})
        self.assertEqual(fleet.quantiles(slow + slow + fast), {50: 1.0, 99: 100.0})


class Sessions(unittest.TestCase):
    def test_are_a_replicas_own_but_for_a_tenth_that_the_next_one_has_a_little_earlier(self):
        two = SimpleNamespace(replicas=2)
        own, others = ([line.split()[0] for line in fleet.sessions(two, "a", place, 1000).splitlines()] for place in (0, 1))
        foreign = [session for session in own if session.startswith("a-1-")]
        # None among the first: there is nothing earlier yet.
        self.assertEqual(len(foreign), 80)
        self.assertTrue(all(own.index(session) - others.index(session) == fleet.BEHIND for session in foreign))
        self.assertEqual(len(set(own)), 1000)


class Output(unittest.TestCase):
    def test_of_wrk_is_read_with_its_failures(self):
        text = ("  120 requests in 1.50m, 1.00MB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n"
                "  Non-2xx or 3xx responses: 4\n")
        self.assertEqual(growth.read_wrk(text), (120, 90.0, 10))


class Figures(SimpleNamespace):
    """As benches/replicas finds them, the same for every load."""

    def median(self, load, read):
        return read(self.runs[load])

    def median_idle(self, name):
        return self.idle.get(name, 0.0)

    def median_record(self, name):
        return self.record[name]


class Paper(unittest.TestCase):
    def test_says_what_follows_from_the_figures(self):
        counted = {"wal_bytes": 2**20 / 1000, "syncs": 1.0, "transactions": 2.0, "inserted": 3.0, "updated": 3.0}
        run = fleet.Run(1, 1.0, {50: 1.0, 99: 2.0}, 0, 500.0, 1000.0, 0.0, counted)
        record = {"bytes": 2**30 / 1e6, "request_bytes": 0.0, "counted_bytes": 1000.0}
        fleets = {name: Figures(runs={200: run, "most": run}, record=record,
                                idle={"gateway_mib": 10.24, "connections": 5.0 * count, "database_mib": 10.0 * count})
                  for name, count in (("file", 0), ("over-1", 1), ("over-2", 2), ("over-4", 4))}
        text = "\n".join(platform_paper.lines(fleets))
        for said in ("0.5 cores busy, 1.0 planned", "1.0 cores busy, 2.0 planned", "1.0 MiB/s", "259 million in 72 h: 259 GiB",
                     "40,000 with `connections = 1`", "200 GiB (10 MiB each", "80 of 500 connections"):
            self.assertIn(said, text)


class Picture(unittest.TestCase):
    def test_is_well_formed_and_has_a_curve_for_each_series(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "picture.svg"
            curve.draw(file, [("a < b", "bytes", {"one": [(0, 1.0), (1_000, 2.0)], "two": [(0, 0.0)]})])
            curves = ElementTree.parse(file).getroot().iter("{http://www.w3.org/2000/svg}polyline")
            self.assertEqual(len(list(curves)), 2)


if __name__ == "__main__":
    unittest.main()
