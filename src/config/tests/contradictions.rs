//! Configs that must not load, and configs that load with a warning.

use super::*;

/// Each line is a config that must not load, and what its fault says.
const CONTRADICTIONS: &[(&str, &str)] = &[
    ("admin.listen = \"0.0.0.0:9090\"", "open to the network"),
    ("callbacks.kinds.push.answer_within = \"5 s\"", "the sender gives up after \"5 s\""),
    ("callbacks.kinds.push.budget = \"3 s\"", "would be answered after \"4 s\""),
    ("callbacks.kinds.push.replay_acknowledged_for = \"30 s\"", "would be forgotten before"),
    ("callbacks.kinds.validation.hard_limit = \"2 s\"", "given up before the sender's time is over"),
    ("callbacks.kinds.validation.redelivery = \"never\"", "there is no option `redelivery`"),
    ("callbacks.kinds.pusch.budget = \"3 s\"", "did you mean `push`?"),
    ("callbacks.override.woocomerce.push.budget = \"9 s\"", "did you mean `woocommerce`?"),
    ("callbacks.override.woocommerce.push.budget = \"1 s\"", "would be answered after \"4 s\""),
    ("shop.max_in_flight = 4", "traffic gets none"),
    ("shop.reserved_for_callbacks = 16", "traffic gets none"),
    ("shop.connect_within = \"2 fortnights\"", "`2 fortnights` is not a duration"),
    ("shop.connect_within = \"0 s\"", "from \"10 ms\" to \"1 min\""),
    ("shop.head_bytes_max = \"2 MB/s\"", "is not a size"),
    ("shop.ca_file = \"absent.crt\"", "cannot read absent.crt"),
    ("server.listen = [\"localhost:8443\"]", "did you mean \"127.0.0.1:8443\"?"),
    ("server.listen = [\":8443\"]", "did you mean \"0.0.0.0:8443\"?"),
    ("server.listen = []", "there is no address to listen on"),
    ("server.listen = \"127.0.0.1:9090\"", "server.listen listens on 127.0.0.1:9090"),
    ("server.redirect_from = \"127.0.0.1:443\"", "127.0.0.1:443 is taken"),
    ("server.listen = \"0.0.0.0:8080\"", "this is kallback itself"),
    ("server.connections_max = 100", "there are only 100 in all"),
    ("server.proxy_protocol_from = [\"10.0.0.0/33\"]", "`10.0.0.0/33` is not an address range"),
    ("server.threads = \"4\"", "write it without quotes"),
    ("server.threads = -1", "is not a whole number in bounds"),
    ("server.threads = 99999999999999999999999", "is not a whole number in bounds"),
    ("server.public_port = 0", "from 1 to 65535"),
    ("server.max_in_flight = 1", "did you mean `shop.max_in_flight`?"),
    ("server = 1", "`server` is a section, but this is a number"),
    ("nonsense.x = 1", "there is no section `nonsense`"),
    ("token.mode = \"enforced\"", "did you mean \"enforce\"?"),
    ("token.parameter = \"Kall back\"", "1 to 32 of a-z"),
    ("token.keys = [\"1 11\"]", "both `keys` and `key_file` are set"),
    ("delivery.schedule = []", "the schedule has 0 pauses"),
    ("delivery.schedule = [\"1 s\", \"0 s\"]", "a pause is out of bounds"),
    ("delivery.attempt_timeout = \"3 s\"", "longer than an attempt lasts"),
    ("delivery.recorded_body_bytes_max = \"2 MiB\"", "cannot be recorded that is not read"),
    ("ledger.admit_within = \"1.5 s\"", "no time is left for the shop"),
    ("ledger.keep_records_for = \"47 h\"", "at least \"48 h\""),
    ("ledger.keep_bodies_for = \"73 h\"", "bodies cannot be kept longer"),
    ("ledger.store = \"disk\"", "one of: file, memory"),
    ("ledger.url = \"mysql://k:geheim@db/shop\"", "does not begin with postgres://"),
    ("ledger.url = \"postgres://k@db/shop?sslmode=prefer\"", "sslmode is `verify-full`"),
    ("ledger.url = \"postgres://k@db/shop\"\nledger.file = \"x.db\"", "both `file` and `url` are set"),
    ("log.filter = \"kallback=loud=1\"", "the filter cannot be read"),
    ("webhooks.mode = \"enforce\"", "there is no signing key"),
    ("webhooks.signing_keys = [{ id = \"a\" }]", "the key has no secret"),
    ("webhooks.signing_keys = [{ secret = \"a\" }]", "`webhooks.signing_keys[].id` is missing"),
    (
        "webhooks.signing_keys = [{ id = \"a\", secret = \"x\" }, { id = \"a\", secret = \"y\" }]",
        "a signing key of this id is there already",
    ),
    ("admin.token_file = \"empty.keys\"\nadmin.token = \"x\"", "both `token` and `token_file` are set"),
    ("admin.token = \" \"", "the secret is empty"),
    ("routes = [{ path = \"/x\", kind = \"push\" }]", "`routes[].name` is missing"),
    ("routes = [{ name = \"a\", path = \"x\", kind = \"push\" }]", "a path starts with `/`"),
    ("routes = [{ name = \"a b\", path = \"/x\", kind = \"push\" }]", "a route's name is 1 to 64"),
    ("routes = [{ name = \"a\", path = \"/x?y=1\", kind = \"push\" }]", "a path has no query"),
    ("routes = [{ name = \"a\", path = \"/x\", kind = \"psh\" }]", "did you mean \"push\"?"),
    ("routes = [{ name = \"a\", path = \"/x\", kind = \"webhook\" }]", "there is no signing key"),
    (
        "routes = [{ name = \"a\", path = \"/x\", kind = \"push\" }, { name = \"a\", path = \"/y\", kind = \"push\" }]",
        "there are two routes named `a`",
    ),
    ("routes = [1]", "write [[routes]]"),
];

#[test]
fn every_contradiction_is_found() {
    let world = World::new();
    world.write("empty.keys", "# nothing\n");
    for (config, expected) in CONTRADICTIONS {
        let printed = world.faults(config);
        assert!(printed.contains(expected), "{config}\n{printed}");
    }
    let wrong_pair = "tls.certificates = [{ certificate = \"a.key\", key = \"a.key\" }]";
    assert!(world.printed(&load(&world.only(wrong_pair)).unwrap_err()).contains("a.key holds no"));
    let no_keys = "shop.url = \"http://x\"\ntoken.key_file = \"empty.keys\"";
    assert!(world.printed(&load(&world.only(no_keys)).unwrap_err()).contains("no token key can be read"));
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let world = World::new();
    world.write("open.key", "geheim\n");
    std::fs::set_permissions(world.folder.path().join("open.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    for (config, expected) in [
        ("ledger.store = \"memory\"", "kept in memory"),
        ("token.mode = \"observe\"", "let through and logged"),
        ("token.mode = \"off\"", "nobody checks the token"),
        ("forward.trusted_proxies = [\"0.0.0.0/0\"]", "everybody is a trusted proxy"),
        ("shop.tls_name = \"x\"", "has no effect"),
        ("callbacks.override.oxid.push.redelivery = \"never\"", "preset \"oxid\" is not on"),
        ("admin.token_file = \"open.key\"", "(mode 0644)"),
        ("token.make_development_key = true", "made for development"),
    ] {
        let warnings = world.load(config).warnings;
        assert!(warnings.len() == 1 && warnings[0].message.contains(expected), "{config}: {warnings:?}");
    }
}
