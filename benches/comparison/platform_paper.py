"""On paper, with the figures that were measured: what a platform with 10,000 shops and 1,000 callbacks a second needs."""

from .setting import table

SHOPS, PER_SECOND = 10_000, 1_000
RECORDS_HOURS, BODIES_HOURS = 72, 24
# Of what a replica has by default: lanes for callbacks, one for everything else, rows of counters in the database.
LANES, UPKEEP, COUNTER_ROWS = 4, 1, 16
# No machine is planned to be full; one may be away.
BUSY_AT_MOST = 0.5
CONNECTIONS_PER_DATABASE = 500
CELLS = 10
PAGE_KIB, RANDOM_INDEXES = 8, 4
GIB, TIB = 2**30, 2**40


def lines(figures):
    """`figures`: by fleet, as `benches/replicas` found them."""
    found = Measured(figures)
    return [*opening(found), *one_fleet(found), *one_for_each(found), *cells(found), *limits(found)]


class Measured:
    """The figures that the paper stands on, from two replicas where there is a choice."""

    def __init__(self, figures):
        over, rates = figures["over-2"], list(figures["over-2"].runs)
        slow, fast = rates[0], rates[-1]
        self.slow = slow
        self.gateway_us, self.database_us = (over.median(slow, lambda run: run.gateway_us),
                                             over.median(slow, lambda run: run.database_us))
        self.gateway_fast_us, self.database_fast_us = (over.median(fast, lambda run: run.gateway_us),
                                                       over.median(fast, lambda run: run.database_us))
        count = lambda what: over.median(slow, lambda run: run.counted[what])
        self.wal, self.syncs, self.syncs_fast = count("wal_bytes"), count("syncs"), \
            over.median(fast, lambda run: run.counted["syncs"])
        self.transactions, self.inserted, self.updated = count("transactions"), count("inserted"), count("updated")
        self.record, self.request = over.median_record("bytes"), over.median_record("request_bytes")
        self.counted = over.median_record("counted_bytes")
        self.p50 = over.median(slow, lambda run: run.quantiles_ms[50])
        most = figures["over-4"]
        self.idle_mib = figures["file"].median_idle("gateway_mib")
        self.idle_transactions = most.median_idle("transactions")
        self.idle_cpu = max(most.median_idle("gateway_cpu"), figures["over-1"].median_idle("gateway_cpu"))
        self.idle_database_cpu = figures["over-1"].median_idle("database_cpu")
        connections = most.median_idle("connections") - figures["over-1"].median_idle("connections")
        memory = most.median_idle("database_mib") - figures["over-1"].median_idle("database_mib")
        self.connection_mib = memory / max(1, connections)


def cores(micros):
    return PER_SECOND * micros / 1e6


def opening(found):
    return [f"{SHOPS:,} shops and {PER_SECOND:,} callbacks a second together: one callback in "
            f"{SHOPS // PER_SECOND} s for a shop on average. **Measured** are the figures of the section before, on one "
            "machine, with small tables and a shop that answers at once; everything here is **computed** from them. "
            "**Nobody has run a platform of this size**, nor more than 4 replicas, nor a database on a machine of its own.",
            "",
            "What can share what decides everything else:", "",
            "- A kallback has one `shop.url` and keeps `Host`. So one fleet can stand before many shops only where one "
            "front (a router, an ingress) leads to all of them.",
            "- A ledger belongs to the kallbacks of one `shop.url`: a replica that takes over brings a notice to its own. "
            "Shops with a kallback each need a schema each (`?options=-csearch_path%3Dshop_17`) or a file each.", ""]


def one_fleet(found):
    records = RECORDS_HOURS * 3600 * PER_SECOND
    with_body = BODIES_HOURS * 3600 * PER_SECOND
    stored = records * found.record - (records - with_body) * found.request
    rows = [
        ["gateway CPU", f"{found.gateway_us:.0f} µs a callback at {found.slow}/s, {found.gateway_fast_us:.0f} as fast as "
         "they can; connections kept alive", f"{cores(found.gateway_us):.1f} cores busy, "
         f"{cores(found.gateway_us) / BUSY_AT_MOST:.1f} planned, over at least 3 replicas"],
        ["TLS handshakes", "not in the row above; `benches/compare` has what a fresh connection costs",
         f"{PER_SECOND:,} a second if Klarna opens one for each callback"],
        ["database CPU", f"{found.database_us:.0f} µs, {found.database_fast_us:.0f} as fast as they can",
         f"{cores(found.database_us):.1f} cores busy, {cores(found.database_us) / BUSY_AT_MOST:.1f} planned"],
        ["transactions", f"{found.transactions:.2f} a callback: the claim, and its end",
         f"{PER_SECOND * found.transactions:,.0f} a second"],
        ["syncs of the log", f"{found.syncs:.2f} a callback at {found.slow}/s, {found.syncs_fast:.2f} as fast as they "
         "can: commits that wait together share one", f"at most {PER_SECOND * found.syncs:,.0f} a second; a disk that "
         "syncs in 1 ms makes 1,000 and shares the rest"],
        ["log (WAL)", f"{found.wal / 1024:.1f} KiB a callback, small tables",
         f"{PER_SECOND * found.wal / 2**20:.1f} MiB/s, {PER_SECOND * 86400 * found.wal / TIB:.2f} TiB a day for archive "
         "and standby"],
        ["log with large tables", "not measured", f"after each checkpoint the first touch of a page is logged whole: up "
         f"to {RANDOM_INDEXES} × {PAGE_KIB} KiB a callback for its {RANDOM_INDEXES} entries at random places, "
         f"{PER_SECOND * RANDOM_INDEXES * PAGE_KIB / 1024:.0f} MiB/s at the worst; long `checkpoint_timeout`, large "
         "`max_wal_size`"],
        ["records", f"{found.record:,.0f} bytes each with indexes, {found.request:,.0f} of them the request, which goes "
         f"after {BODIES_HOURS} h", f"{records / 1e6:,.0f} million in {RECORDS_HOURS} h: {stored / GIB:,.0f} GiB, and as "
         "much again for what vacuum has not given back yet"],
        ["`bytes_max`", f"default 1 GiB; a record counts as {found.counted:,.0f} bytes", "full after "
         f"{GIB / found.counted / PER_SECOND / 60:.0f} min, and callbacks would pass straight through. Set "
         f"`{records * found.counted / GIB:,.0f} GiB`"],
        ["autovacuum", f"{found.updated:.2f} rows updated and {found.inserted:.2f} inserted a callback",
         f"{PER_SECOND * found.updated:,.0f} dead rows a second, and one more when the body goes, and one when the record "
         "does: `autovacuum_vacuum_scale_factor` of 0.01 and no cost delay for `kallback_notice` and `kallback_counts`"],
        ["sweep", "not measured", f"{2 * PER_SECOND:,} a second (bodies and records); a replica begins at most 50 slices "
         "of `sweep_slice` (500) a second"],
        ["connections", f"{LANES} + {UPKEEP} for each replica; memory of an idle one {found.connection_mib:.1f} MiB",
         f"{3 * (LANES + UPKEEP)} for 3 replicas. No pooler is needed, and none that changes servers between "
         "transactions works (`LISTEN`, prepared statements)"],
        ["counters", f"{COUNTER_ROWS} rows; every lane takes one at random when it connects",
         f"claims and ends on one row wait for each other's commit. 3 replicas have {3 * LANES} lanes, on "
         f"{COUNTER_ROWS * (1 - (1 - 1 / COUNTER_ROWS) ** (3 * LANES)):.0f} rows on average: that many commits at once"],
        ["network", "not measured", f"by sizes, a request of {found.request:.0f} bytes, a reply of 1 KiB and a TLS "
         f"handshake of some 3 KiB: about {PER_SECOND * (2 * found.request + 2 * 1024 + 3072) * 8 / 1e6:.0f} Mbit/s at the "
         f"gateways, {PER_SECOND * 2 * found.record * 8 / 1e6:.0f} to the database and back at most, and the log to each "
         "standby"],
        ["limits", "defaults for a single shop", "`proven_per_second` (500), `max_in_flight` (16) and "
         "`connections_per_address_max` (256) hold for each replica: raise them"],
    ]
    return ["### One fleet before one front, one ledger", "", *table(["what", "measured or given", "so"], rows),
            f"At {found.slow}/s half of the callbacks are answered within {found.p50:.1f} ms on the machine above, database "
            "included.", ""]


def one_for_each(found):
    replicas = 2 * SHOPS
    connections = replicas * (1 + UPKEEP)
    databases = -(-connections // CONNECTIONS_PER_DATABASE)
    rows = [
        ["kallbacks", f"{replicas:,}, two for each shop", f"{SHOPS:,}, one for each shop"],
        ["their memory", f"{replicas * found.idle_mib / 1024:,.0f} GiB ({found.idle_mib:.0f} MiB each, measured idle)",
         f"{SHOPS * found.idle_mib / 1024:,.0f} GiB"],
        ["their CPU, idle", f"at most {replicas * found.idle_cpu:,.0f} cores ({100 * found.idle_cpu:.2f} % each; the clock "
         "that measures has steps of 10 ms)", "less"],
        ["connections", f"{connections:,} with `connections = 1`; {replicas * (LANES + UPKEEP):,} with the default", "none"],
        ["idle statements", f"{replicas * found.idle_transactions:,.0f} a second ({found.idle_transactions:.1f} a replica, "
         f"measured), more than {PER_SECOND:,} callbacks need", "none"],
        ["database servers", f"{databases:,} of {CONNECTIONS_PER_DATABASE} connections, with "
         f"{SHOPS // databases:,} shops' schemas each; {CONNECTIONS_PER_DATABASE * found.connection_mib / 1024:.1f} GiB "
         "for connections on each", "none"],
        ["dies with", "its database: the shops on it pass straight through, joined in memory",
         "its machine: its disk has what was accepted, until it is back"],
    ]
    return ["### A kallback for each shop", "", *table(["", "over PostgreSQL, a schema each", "a file each"], rows),
            "Connections and idle statements decide, not callbacks. A shop that can do with one kallback needs no database "
            "at all.", ""]


def cells(found):
    return ["### Cells", "",
            f"One fleet and one ledger fail for all. {CELLS} cells of {SHOPS // CELLS:,} shops, each with 2 or 3 "
            f"kallbacks and a database with a synchronous standby, fail for {100 // CELLS} % each. A cell has "
            f"{PER_SECOND // CELLS} callbacks a second: {cores(found.gateway_us) / CELLS:.2f} cores of gateways, "
            f"{cores(found.database_us) / CELLS:.2f} of a database, {PER_SECOND / CELLS * found.wal / 2**20:.2f} MiB/s of "
            f"log, {3 * (LANES + UPKEEP)} connections. A shop belongs to one cell, by its host name, at the router. Records stay "
            "where they are: after a move, a callback that the old cell had is new to the other, and what was pending is "
            "brought by the old one. The token keys of the old cell have to be known to the new one for 72 h.", ""]


def limits(found):
    return ["### What fails together, and what was not tried", "",
            "- **Seats** are counted for a kallback, not for a shop: behind a common front one slow shop takes the "
            "callback seats of all shops of its cell. Without a limit per shop at the front this is the weakest place of a "
            "shared fleet.",
            "- **Redeliveries**: `redelivery_concurrency` and the knowledge that the shop is back are shared in the same "
            "way.",
            "- **Token keys** are shared within a cell: a URL that was given to one shop proves callbacks at another.",
            "- **The database away**: callbacks pass straight through, answered 2xx only by the shop; a repeat at "
            "another replica reaches the shop twice.",
            "- Not tried: more than 4 replicas; a database on another machine, so every commit's network time is missing; "
            "a standby that commits synchronously; tables of more than some ten thousand records in PostgreSQL; sweeping "
            "and vacuum at this rate for days; poolers; other databases that speak the protocol."]
