"""python3 -m unittest benches/comparison/tests.py"""

import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from comparison import counting, functions, goals, load, plot, report, results, world  # noqa: E402
from comparison.load import Sample  # noqa: E402
from comparison.scenarios import KEEP_64, RATES, UNIQUE, at_rate  # noqa: E402


def samples_of(**runs_by_proxy):
    """Samples of one load: for each proxy the CPU of each round."""
    samples = report.Samples()
    for proxy, runs in runs_by_proxy.items():
        for run in runs:
            samples.add(KEEP_64, proxy, Sample(1000.0, run, {50: 1.0, 99: 2.0, 99.9: 3.0}))
    return samples


class Ratios(unittest.TestCase):
    def test_are_taken_within_a_round_and_not_between_medians(self):
        samples = samples_of(kallback=[10, 40, 30], nginx=[20, 20, 60])
        self.assertEqual(samples.ratio(KEEP_64, "kallback", report.cpu), 0.5)

    def test_of_a_peer_that_failed_are_missing_and_hold_nothing(self):
        samples = samples_of(kallback=[10], nginx=[10])
        samples.drop(KEEP_64, "nginx")
        self.assertIsNone(goals.ratio(samples, KEEP_64, report.cpu))
        self.assertIn("not measured: CPU, keep-alive, 64 connections", goals.verdict(goals.traffic_goals(samples)))

    def test_of_p99_count_at_the_worst_rate(self):
        samples = report.Samples()
        for rate, own in zip(RATES, (1.0, 3.0, 2.0)):
            samples.add(at_rate(rate), "kallback", Sample(1.0, 1.0, {99: own}))
            samples.add(at_rate(rate), "nginx", Sample(1.0, 1.0, {99: 2.0}))
        self.assertEqual(goals.worst_p99(samples, "nginx"), 1.5)


class Goals(unittest.TestCase):
    def test_hold_at_their_limit_and_not_beyond(self):
        self.assertTrue(goals.Goal("", 1.0, 1.0).holds())
        self.assertFalse(goals.Goal("", 1.0, 1.01).holds())
        self.assertFalse(goals.Goal("", 1.0, 0.99, at_least=True).holds())

    def test_count_durable_callbacks_only_if_the_ledger_has_them_all(self):
        samples = report.Samples()
        samples.add(UNIQUE, "kallback", Sample(9000.0, 1.0, {99: 1.0}))
        rate = [goals.callback_goals(goals.Measured(samples, {}, None, {}, durable))[1].found for durable in (True, False)]
        self.assertEqual(rate, [9000.0, None])

    def test_of_paths_without_a_callback_leave_out_callbacks_and_the_worst(self):
        found = goals.function_goals(functions.read(
            "100 recognise, all presets, traffic: page\n900.5 recognise, x, callback: push\n"
            "2000 recognise, x, worst: y\n90000 form: 64 KiB\n"))
        self.assertEqual([goal.found for goal in found[:2]], [100.0, 2000.0])

    def test_say_in_the_last_line_how_many_hold_and_which_do_not(self):
        line = goals.verdict([goals.Goal("a", 1, 1), goals.Goal("b", 1, 2), goals.Goal("c", 1, None)])
        self.assertEqual(line, "1 of 3 goals hold; not: b; not measured: c")


class Smoke(unittest.TestCase):
    def test_notices_twice_the_goal_and_a_request_that_failed(self):
        slow = list(goals.gross_faults(samples_of(kallback=[18], nginx=[10])))
        self.assertTrue(any("1.80 of nginx" in fault for fault in slow))
        samples = samples_of(kallback=[16], nginx=[10])
        samples.add(KEEP_64, "nginx", Sample(1.0, 1.0, {}, failed=3))
        faults = list(goals.gross_faults(samples))
        self.assertFalse(any("1.60" in fault for fault in faults))
        self.assertIn(f"{KEEP_64}: 3 requests failed", faults)


class Reading(unittest.TestCase):
    def test_of_wrk(self):
        self.assertEqual(load.read_wrk("x\nRESULT 3000 2000000 7 1500 2500 9000\n"),
                         (3000, 2.0, {50: 1.5, 99: 2.5, 99.9: 9.0}, 7))
        with self.assertRaises(load.Failed):
            load.read_wrk("unable to connect")

    def test_of_h2load_counts_what_was_not_200_as_failed(self):
        log = "1\t200\t1000\n1\t-1\t5000\n1\t200\t3000\n"
        self.assertEqual(load.read_h2load("finished in 500.00ms, 6 req/s", log),
                         (3, 0.5, {50: 3.0, 99: 3.0, 99.9: 3.0}, 1))

    def test_of_what_openssl_agreed(self):
        said = "Server Temp Key: X25519, 253 bits\nNew, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384\n" \
               "Server public key is 256 bit\nPost-Handshake New Session Ticket arrived:\n"
        self.assertEqual(world.read_tls_facts(said), ("TLS_AES_256_GCM_SHA384", "X25519", "256 bit", 1))


class Counting(unittest.TestCase):
    def test_leaves_out_what_starting_costs(self):
        self.assertEqual(counting.per_call(few=1_000_000 + 20 * 7, many=1_000_000 + 120 * 7), 7)

    def test_notices_slower_faster_new_and_gone(self):
        drifts = counting.compare({"a": 100, "b": 100, "c": 100, "d": 1}, {"a": 109, "b": 112, "c": 80, "e": 1}, 0.10)
        self.assertEqual([drift.verdict() for drift in drifts], ["same", "slower", "faster", "gone", "new"])
        self.assertEqual(counting.verdict(drifts), "1 of 5 functions within 10%; slower: b; faster: c; gone: d; new: e")

    def test_reads_the_baseline_that_it_writes(self):
        text = counting.write({"a, b: c": 12.0}, "rustc 1, valgrind-2")
        self.assertEqual((counting.read(text), counting.how_of(text)), ({"a, b: c": 12.0}, "rustc 1, valgrind-2"))


class Picture(unittest.TestCase):
    def test_is_well_formed_and_has_a_dot_for_each_proxy(self):
        drawn = ElementTree.fromstring(plot.draw(samples_of(kallback=[10, 12], nginx=[20, 20], **{"a<b": [5, 5]})))
        # Three of the legend, three of the load; the panel of open loops is empty.
        self.assertEqual(len(drawn.findall(".//{*}circle")), 6)


class Results(unittest.TestCase):
    def test_keep_the_sections_of_others(self):
        text = "# Measured\n\n## How it grows\n\nslowly\n\n### more\n\n## Replicas\n\nx\n"
        self.assertEqual(results.parse(text), {"How it grows": "slowly\n\n### more\n", "Replicas": "x\n"})


if __name__ == "__main__":
    unittest.main()
