//! `init` with people of this test at the terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::config::{Finding, Loaded};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: InitArguments,
}

/// What a run of `init` said: its outcome, the output, and what people saw.
struct Told {
    outcome: Result<(), InitFault>,
    out: String,
    asked: String,
}

fn init(folder: &Path, flags: &[&str], typed: Option<&str>) -> Told {
    let folder = folder.to_str().unwrap();
    let line = Line::try_parse_from([&["init", "--folder", folder], flags].concat()).unwrap();
    let (mut out, mut asked) = (Vec::new(), Vec::new());
    let mut input = typed.unwrap_or_default().as_bytes();
    let people = typed.map(|_| People { input: &mut input, output: &mut asked });
    let outcome = run(line.arguments, people, &Clock::system(), &mut out);
    Told { outcome, out: String::from_utf8(out).unwrap(), asked: String::from_utf8(asked).unwrap() }
}

fn loaded(folder: &Path) -> Loaded {
    Origins { file: Some(folder.join("kallback.toml")), ..Origins::default() }.load().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const TRIAL: [&str; 7] = [
    "--shop",
    "http://127.0.0.1:8080",
    "--platform",
    "woocommerce",
    "--name",
    "shop.example",
    "--development-certificate",
];

#[test]
fn the_config_of_every_platform_is_sound_and_nothing_is_to_be_warned_of() {
    let own = TempDir::new().unwrap();
    init(own.path(), &TRIAL, None).outcome.unwrap();
    let (certificate, key) = (own.path().join("development.crt"), own.path().join("development.key"));
    let own = ["--certificate", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let mut platforms = 0;
    for platform in Recogniser::preset_names() {
        for certificate in [&own[..], &["--development-certificate"]] {
            let folder = TempDir::new().unwrap();
            let said = ["--shop", "unix:/run/shop.sock", "--platform", platform, "--name", "shop.example"];
            init(folder.path(), &[&said, certificate].concat(), None).outcome.unwrap();
            let Loaded { settings, warnings, key_file_to_make } = loaded(folder.path());
            assert_eq!(warnings, Vec::<Finding>::new(), "{platform}");
            assert_eq!(settings.recognise.presets, [platform]);
            assert_eq!((settings.token.keys.len(), key_file_to_make), (1, None));
        }
        platforms += 1;
    }
    assert!(platforms > 10);
}

#[test]
fn people_are_asked_for_what_no_flag_says_and_nobody_is_asked_twice() {
    let folder = TempDir::new().unwrap();
    let typed = "shop\nhttp://10.0.0.7\nMagento2\nhttps://shop.example\nShop.Example.\n\n";
    let Told { outcome, out, asked } = init(folder.path(), &[], Some(typed));
    outcome.unwrap();
    assert_eq!(asked.matches("?").count(), 6, "two were asked again: {asked}");
    assert!(asked.contains("`shop` is not an address of a shop") && asked.contains("no https://"), "{asked}");
    let text = fs::read_to_string(folder.path().join("kallback.toml")).unwrap();
    for line in ["url = \"http://10.0.0.7\"", "presets = [\"magento2\"]", "# kallback in front of shop.example."] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(out.contains("\n3. ") && out.contains("kallback run --config "), "{out}");

    let other = TempDir::new().unwrap();
    let Told { asked, .. } = init(other.path(), &TRIAL[..6], Some("\n"));
    assert_eq!(asked.matches("?").count(), 1, "{asked}");
}

#[test]
fn whoever_never_answers_is_told_the_flag() {
    for typed in ["", "a\nb\nc\nhttp://10.0.0.7\n"] {
        let folder = TempDir::new().unwrap();
        let fault = init(folder.path(), &[], Some(typed)).outcome.unwrap_err();
        assert_eq!(fault.to_string(), "that was no answer; say it with --shop");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn keys_are_for_the_owner_and_for_a_group_that_the_folder_hands_on() {
    for (folder_mode, key_mode) in [(0o755, 0o600), (0o2750, 0o640)] {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
        init(folder.path(), &TRIAL, None).outcome.unwrap();
        for name in ["token.keys", "development.key"] {
            assert_eq!(mode(&folder.path().join(name)), key_mode, "{name}");
        }
    }
}

#[test]
fn what_is_there_stays_and_is_named() {
    for name in ["kallback.toml", "token.keys", "development.crt", "development.key"] {
        let folder = TempDir::new().unwrap();
        let there = folder.path().join(name);
        fs::write(&there, "mine").unwrap();
        // The name is not said, and nobody is asked for it in vain.
        let Told { outcome, asked, .. } = init(folder.path(), &[&TRIAL[..4], &TRIAL[6..]].concat(), Some(""));
        let fault = outcome.unwrap_err().to_string();
        assert!(fault.contains(there.to_str().unwrap()) && fault.contains("--folder"), "{fault}");
        assert_eq!(asked, "");
        assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn answers_that_do_not_go_together_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let itself = ["--shop", "http://127.0.0.1:8443"];
    let fault = init(folder.path(), &[&itself, &TRIAL[2..]].concat(), None).outcome.unwrap_err();
    assert!(fault.to_string().contains("this is kallback itself"), "{fault}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_key_of_another_certificate_is_refused_before_anything_is_written() {
    let (one, other, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    for made in [&one, &other] {
        init(made.path(), &TRIAL, None).outcome.unwrap();
    }
    let (certificate, key) = (one.path().join("development.crt"), other.path().join("development.key"));
    let files = ["--certificate", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let fault = init(folder.path(), &[&TRIAL[..6], &files].concat(), None).outcome.unwrap_err();
    assert!(fault.to_string().contains("is not the key of"), "{fault}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_are_host_names_and_nothing_else() {
    for (text, read) in [
        ("Shop.Example.", Some("shop.example")),
        ("localhost", Some("localhost")),
        ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        ("192.0.2.1", None),
        ("::1", None),
        ("shop.example:443", None),
        ("https://shop.example", None),
        ("shop example", None),
        ("", None),
    ] {
        assert_eq!(answers::name(text).ok().as_deref(), read, "{text}");
    }
}
