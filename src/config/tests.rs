//! The loader as an operator meets it.

mod contradictions;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{Family, Kind, Mode, Proof, Redelivery};
use crate::ledger::Backend;
use crate::metrics::LogFormat;

const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A config that loads, in a folder with the files it names.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let (certificate, key) = certificate();
        for (name, text) in [("a.crt", certificate), ("a.key", key), ("token.keys", &format!("# keys\n1 {KEY}\n"))] {
            world.write(name, text);
        }
        world
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The ten lines that are enough, and more of them.
    fn sources(&self, more: &str) -> Sources {
        self.only(&format!(
            "shop.url = \"http://127.0.0.1:8080\"\n\
             callbacks.presets = [\"woocommerce\"]\n\
             token.key_file = \"token.keys\"\n\
             tls.certificates = [{{ certificate = \"a.crt\", key = \"a.key\" }}]\n{more}"
        ))
    }

    fn only(&self, text: &str) -> Sources {
        let file = FileText { path: self.folder.path().join("k.toml"), text: text.to_owned() };
        Sources { file: Some(file), ..Sources::default() }
    }

    fn load(&self, more: &str) -> Loaded {
        load(&self.sources(more)).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The faults as they are printed, with the folder's name taken out.
    fn faults(&self, more: &str) -> String {
        self.printed(&load(&self.sources(more)).expect_err("this config must not load"))
    }

    fn printed(&self, faults: &Faults) -> String {
        faults.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// A certificate and its key as PEM.
fn certificate() -> (&'static str, &'static str) {
    static MADE: std::sync::LazyLock<(String, String)> = std::sync::LazyLock::new(|| {
        let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    (&MADE.0, &MADE.1)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn ten_lines_are_enough_and_all_else_has_a_default() {
    let loaded = World::new().load("");
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.key_file_to_make, None);
    let settings = loaded.settings;
    assert_eq!(settings.server.listen, ["0.0.0.0:443".parse().unwrap()]);
    assert_eq!(settings.admin.listen, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(settings.ledger.backend, Backend::File("/var/lib/kallback/kallback.db".into()));
    assert_eq!(settings.delivery.schedule.len(), 7);
    assert_eq!((settings.token.keys[0].id, settings.token.keys.len()), (1, 1));
    assert_eq!(settings.limits.callback_body_bytes_max, 2 << 20);
}

#[test]
fn settings_for_tests_hold_the_defaults() {
    let address = Address::Http { host: "127.0.0.1".to_owned(), port: 1 };
    let settings = Settings::for_shop(address.clone());
    assert_eq!(settings.upstream.address, address);
    assert_eq!(settings.delivery.attempt_timeout, Duration::from_secs(60));
    assert!(settings.recognise.overrides.is_empty() && settings.recognise.presets.is_empty());
}

#[test]
fn a_fault_shows_its_line_a_caret_and_a_hint() {
    let world = World::new();
    let text = "[shop]\nurl = \"http://127.0.0.1:8080\"\n  max_inflight = 3 # seats\n[callbacks]\n\
                presets = [\"woocommerce\", \"magneto2\"]\n[tls]\ncertificates = []\n[server]\nidle_for_at_most = 60\n";
    let printed = world.printed(&load(&world.only(text)).unwrap_err());
    let expected = r#"error: there is no token key: every callback would be refused
  hint: make one: (umask 077; echo "1 $(openssl rand -hex 32)" > token.keys), then set token.key_file

error: there is no option `max_inflight` in [shop]
  --> k.toml:3:3
   |
 3 |   max_inflight
   |   ^^^^^^^^^^^^
  hint: did you mean `max_in_flight`?

error: there is no preset `magneto2`
  --> k.toml:5:27
   |
 5 | presets = ["woocommerce", "magneto2"]
   |                           ^^^^^^^^^^
  hint: did you mean "magento2"?

error: there is no TLS certificate
  --> k.toml:7:16
   |
 7 | certificates = []
   |                ^^
  hint: write [[tls.certificates]] with `certificate` and `key`, each a PEM file

error: this is a number; wanted is a duration
  --> k.toml:9:20
   |
 9 | idle_for_at_most = 60
   |                    ^^
  hint: write a number and a unit in quotes: "500 ms", "1.5 s", "10 min", "48 h"

5 faults in the config"#;
    assert_eq!(printed, expected);
}

#[test]
fn a_syntax_error_is_shown_alone() {
    let world = World::new();
    let printed = world.printed(&load(&world.only("[shop]\nurl = \"http://x\n[admin]\n")).unwrap_err());
    assert!(printed.starts_with("error: this is not TOML: "), "{printed}");
    assert!(printed.contains("--> k.toml:2:"), "{printed}");
    assert!(printed.ends_with("1 fault in the config"), "{printed}");
}

#[test]
fn for_a_log_all_faults_fit_into_one_line() {
    let faults = load(&World::new().sources("server.threads = \"x\"\nlog.format = \"x\"")).unwrap_err();
    let line = faults.in_one_line();
    assert!(line.contains("server.threads (") && line.contains(" | log.format ("), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[test]
fn flag_goes_before_environment_before_file() {
    let world = World::new();
    let mut sources = world.sources("server.listen = \"127.0.0.1:1\"\nlog.format = \"text\"\nserver.threads = 7");
    sources.environment = pairs(&[
        ("KALLBACK_SERVER__LISTEN", "127.0.0.1:2, [::1]:2"),
        ("KALLBACK_LOG__FORMAT", "json"),
        ("KALLBACK_SHOP__CONNECT_WITHIN", "3 s"),
        ("KALLBACK_FORWARD__SCAN_FORMS", "false"),
        ("KALLBACK_CONFIG", "/etc/k.toml"),
        ("KALLBACK_SERVICE_HOST", "10.0.0.1"),
        ("HOME", "/root"),
    ]);
    sources.flags = pairs(&[("server.listen", "127.0.0.1:3"), ("server.listen", "[::1]:3,127.0.0.1:4")]);
    let settings = load(&sources).unwrap_or_else(|faults| panic!("{faults}")).settings;
    assert_eq!(settings.server.listen, ["[::1]:3".parse().unwrap(), "127.0.0.1:4".parse().unwrap()]);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.upstream.connect_within, Duration::from_secs(3));
    assert_eq!(settings.server.workers, crate::server::Workers::PerCore(7));
    assert!(!settings.forward.scan_forms);
}

#[test]
fn the_environment_alone_is_enough() {
    let world = World::new();
    let file = |name: &str| world.folder.path().join(name).display().to_string();
    let certificates = format!("[{{ certificate = '{}', key = '{}' }}]", file("a.crt"), file("a.key"));
    let environment = pairs(&[
        ("KALLBACK_SHOP__URL", "unix:/run/shop.sock"),
        ("KALLBACK_CALLBACKS__PRESETS", "woocommerce,magento2"),
        ("KALLBACK_TOKEN__KEY_FILE", &file("token.keys")),
        ("KALLBACK_TLS__CERTIFICATES", &certificates),
        ("KALLBACK_CALLBACKS__KINDS__PUSH__REDELIVERY", "never"),
        ("KALLBACK_ROUTES", r#"[{ name = "a", path = "/a", kind = "push" }]"#),
    ]);
    let settings =
        load(&Sources { environment, ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}")).settings;
    assert_eq!(settings.recognise.presets, ["woocommerce", "magento2"]);
    assert_eq!(settings.recognise.overrides[0].policy.redelivery, Some(Redelivery::Never));
    assert_eq!(settings.recognise.routes[0].route.policy.redelivery, Redelivery::Never);
    assert_eq!(settings.server.tls.certificates.len(), 1);
}

#[test]
fn a_fault_of_the_environment_or_a_flag_names_it() {
    let world = World::new();
    let mut sources = world.sources("");
    sources.environment = pairs(&[
        ("KALLBACK_SERVER__LISEN", "geheim"),
        ("KALLBACK_LISTEN", "geheim"),
        ("KALLBACK_SERVER__THREADS", "many"),
        ("KALLBACK_SHOP__URL__HOST", "x"),
    ]);
    sources.flags = pairs(&[("server.conections_max", "1"), ("admin.listen", "9090"), (".", "x")]);
    let printed = world.printed(&load(&sources).unwrap_err());
    for expected in [
        "environment variable KALLBACK_SERVER__LISEN\n  hint: did you mean `KALLBACK_SERVER__LISTEN`?",
        "environment variable KALLBACK_LISTEN\n  hint: did you mean `KALLBACK_SERVER__LISTEN`?",
        "`many` is not a whole number in bounds\n  --> environment variable KALLBACK_SERVER__THREADS",
        "`shop.url` is set as a whole and has no options here\n  --> environment variable KALLBACK_SHOP__URL__HOST",
        "flag server.conections_max\n  hint: did you mean `server.connections_max`?",
        "flag admin.listen\n  hint: write \"127.0.0.1:9090\", or \"off\"",
        "this names no option\n  --> flag .",
    ] {
        assert!(printed.contains(expected), "missing: {expected}\n---\n{printed}");
    }
    assert!(!printed.contains("geheim"));
}

#[test]
fn the_stronger_source_of_a_secret_wins_over_the_other_way_to_give_it() {
    use secrecy::ExposeSecret as _;
    let world = World::new();
    world.write("admin.token", "from file\n");
    let mut sources = world.sources("admin.token_file = \"admin.token\"");
    let token = |sources: &Sources| load(sources).unwrap().settings.admin.token.unwrap().expose_secret().to_owned();
    assert_eq!(token(&sources), "from file");
    sources.environment = pairs(&[("KALLBACK_ADMIN__TOKEN", "from environment")]);
    assert_eq!(token(&sources), "from environment");
}

#[test]
fn no_fault_and_no_setting_prints_a_secret() {
    let world = World::new();
    world.write("bad.keys", "1 geheim\n");
    for config in [
        "admin.token = [\"geheim\"]",
        "admin.tokn = \"geheim\"",
        "admin = { token = \"geheim\", x = 1 }",
        "token.keys = [\"1 geheim\"]",
        "webhooks.signing_keys = [{ id = \"a\", secret = \"geheim\", sekret = \"geheim\" }]",
        "admin.token = \"geheim",
        "shop.url = \"http://u:geheim@shop\"",
        "webhooks.signing_keys = \"geheim\"",
    ] {
        let faults = load(&world.sources(config)).unwrap_err();
        assert!(!format!("{faults} {faults:?}").contains("geheim"), "{config}\n{faults}");
    }
    let loaded = world.load("admin.token = \"geheim\"\nwebhooks.signing_keys = [{ id = \"a\", secret = \"geheim\" }]");
    let printed = format!("{loaded:?}");
    assert!(!printed.contains("geheim") && !printed.contains(KEY) && !printed.contains("17, 17"), "{printed}");
}

#[test]
fn own_routes_take_the_rules_of_their_kind_and_their_own_on_top() {
    let world = World::new();
    let settings = world
        .load(
            "token.mode = \"observe\"\n\
             callbacks.kinds.push.budget = \"9 s\"\n\
             [[routes]]\nname = \"a\"\npath = \"/pay/push/*\"\nkind = \"push\"\nquery = { cl = \"Push\" }\n\
             answer_within = \"6 s\"\nsubject_parameter = \"id\"\nfailure_texts = [\"failure\"]\n\
             [[routes]]\nname = \"b\"\npath = \"**/auth\"\nkind = \"authorization\"\nmode = \"enforce\"\n",
        )
        .settings;
    let [push, authorization] = settings.recognise.routes.as_slice() else { panic!() };
    assert_eq!(push.route.proof, Proof::Token(Mode::Observe));
    assert_eq!(push.query, pairs(&[("cl", "Push")]));
    assert_eq!(push.route.policy.budget, Duration::from_secs(9));
    assert_eq!(push.route.policy.answer_within, Duration::from_secs(6));
    assert_eq!(push.route.policy.oldest, Kind::Push.defaults().oldest);
    assert_eq!(
        (push.route.family, push.route.failure_texts.as_slice()),
        (Family::Checkout, ["failure".to_owned()].as_slice())
    );
    assert_eq!(authorization.route.proof, Proof::Token(Mode::Enforce));
    assert_eq!(authorization.route.family, Family::Payments);
}

#[test]
fn a_key_is_not_needed_where_nobody_is_refused() {
    let world = World::new();
    let text = "shop.url = \"http://127.0.0.1:8080\"\ncallbacks.presets = [\"oxid\"]\ntoken.mode = \"observe\"\n\
                tls.certificates = [{ certificate = \"a.crt\", key = \"a.key\" }]\n";
    load(&world.only(text)).unwrap_or_else(|faults| panic!("{faults}"));
    let one = format!("{text}callbacks.kinds.push.mode = \"enforce\"\n");
    assert!(load(&world.only(&one)).unwrap_err().to_string().contains("there is no token key"));
}

#[test]
fn development_files_may_be_absent_both_but_not_one() {
    let world = World::new();
    let text = "shop.url = \"http://127.0.0.1:8080\"\ncallbacks.presets = [\"oxid\"]\n\
                token = { key_file = \"new/token.keys\", make_development_key = true }\n\
                [tls]\nmake_development_certificate = true\n[[tls.certificates]]\ncertificate = \"new.crt\"\nkey = \"KEY\"\n";
    let loaded = load(&world.only(&text.replace("KEY", "new.key"))).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.key_file_to_make, Some(world.folder.path().join("new/token.keys")));
    let faults = load(&world.only(&text.replace("KEY", "a.key"))).unwrap_err().to_string();
    assert!(faults.contains("new.crt") && faults.ends_with("1 fault in the config"), "{faults}");
}

#[test]
fn a_key_for_development_is_made_once_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let text =
        world.sources("token.make_development_key = true").file.unwrap().text.replace("token.keys", "new/a.keys");
    world.write("k.toml", &text);
    let origins = Origins { file: Some(world.folder.path().join("k.toml")), ..Origins::default() };
    assert!(origins.load().unwrap().settings.token.keys.is_empty());
    let secret = || {
        use secrecy::ExposeSecret as _;
        let loaded = origins.load_and_make().unwrap();
        assert_eq!(loaded.key_file_to_make, None);
        loaded.settings.token.keys[0].secret.expose_secret().to_vec()
    };
    let first = secret();
    assert_eq!((first.len(), secret()), (32, first.clone()));
    let mode = std::fs::metadata(world.folder.path().join("new/a.keys")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn lifting_a_presets_ban_on_redelivery_for_a_whole_kind_is_a_warning() {
    let world = World::new();
    let whole = world.load("callbacks.override.woocommerce.push.redelivery = \"any_failure\"").warnings;
    assert_eq!(whole, []);
    let text = "callbacks.kinds.push.redelivery = \"any_failure\"";
    let mut sources = world.sources(text);
    sources.flags = pairs(&[("callbacks.presets", "oxid")]);
    let warnings = load(&sources).unwrap().warnings;
    assert!(warnings.iter().all(|one| one.message.contains("a second call does harm at `oxid push")), "{warnings:?}");
    assert!(!warnings.is_empty());
}

/// Lines that come close to a config.
fn nearly_a_line() -> impl Strategy<Value = String> {
    let names = "(server|tls|shop|token|routes|callbacks|admin|ledger|x)";
    prop_oneof![
        proptest::string::string_regex(&format!("\\[\\[?{names}(\\.(kinds|override|certificates))?\\]\\]?")).unwrap(),
        proptest::string::string_regex(&format!(
            "({names}\\.)?(listen|url|presets|key|keys|mode|kinds|push|name|path|schedule|query) = \
             (-?[0-9]{{1,25}}|\"[^\"\\\\]{{0,12}}\"|true|\\[[0-9\", sa-z]{{0,12}}\\]|\\{{ a = 1 \\}}|1979-05-27|nan)"
        ))
        .unwrap(),
        ".{0,40}",
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(lines in proptest::collection::vec(nearly_a_line(), 0..12), end in any::<String>()) {
        let text = format!("{}\n{end}", lines.join("\n"));
        let file = FileText { path: "/nowhere/k.toml".into(), text: text.clone() };
        let sources = Sources {
            file: Some(file),
            environment: vec![("KALLBACK_SERVER__LISTEN".to_owned(), end.clone()), (format!("KALLBACK_{end}"), text)],
            flags: vec![(end.clone(), end)],
        };
        if let Err(faults) = load(&sources) {
            prop_assert!(!faults.to_string().is_empty());
        }
    }
}
