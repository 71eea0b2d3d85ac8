//! Every type that an option can have: how it is read from the tree, and how it is written in TOML.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::place::Place;
use crate::config::tree::{Node, Value};
use crate::config::units;
use crate::event::{Family, Kind, Mode, Redelivery};
use crate::ledger::Backend;
use crate::metrics::LogFormat;
use crate::network::Network;

/// Longest value that a message repeats.
const QUOTED_CHARACTERS_MAX: usize = 60;

/// Why a value does not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Complaint {
    /// A place more exact than the whole value, as for one item of a list.
    pub(super) at: Option<Place>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>, hint: &str) -> Vec<Self> {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        vec![Self { at: None, message: message.into(), hint }]
    }
}

/// A value, or everything that is wrong with it.
pub(super) type Read<T> = Result<T, Vec<Complaint>>;

/// A type that an option can have.
pub(super) trait Readable: Sized {
    /// Reads the value.
    fn read(node: &Node) -> Read<Self>;

    /// The value as it is written in TOML.
    fn show(&self) -> String;
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Bytes(pub(super) u64);

/// A value for a message: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect::<String>().escape_debug().to_string();
    if text.chars().nth(QUOTED_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn wrong_type(node: &Node, wanted: &str, hint: &str) -> Vec<Complaint> {
    match &node.value {
        Value::Raw(text) => Complaint::new(format!("{} is not {wanted}", quoted(text)), hint),
        other => Complaint::new(format!("this is {}; wanted is {wanted}", other.name()), hint),
    }
}

fn text_of<'a>(node: &'a Node, wanted: &str, hint: &str) -> Read<&'a str> {
    match &node.value {
        Value::Text(text) | Value::Raw(text) => Ok(text),
        _ => Err(wrong_type(node, wanted, hint)),
    }
}

/// A text as TOML writes it.
pub fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            one if one.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(one));
            }
            one => quoted.push(one),
        }
    }
    quoted.push('"');
    quoted
}

impl Readable for String {
    fn read(node: &Node) -> Read<Self> {
        text_of(node, "text", "put it in quotes").map(ToOwned::to_owned)
    }

    fn show(&self) -> String {
        toml_text(self)
    }
}

impl Readable for bool {
    fn read(node: &Node) -> Read<Self> {
        match &node.value {
            Value::Boolean(value) => Ok(*value),
            Value::Raw(text) if text.trim() == "true" => Ok(true),
            Value::Raw(text) if text.trim() == "false" => Ok(false),
            Value::Text(_) => Err(wrong_type(node, "true or false", "write it without quotes")),
            _ => Err(wrong_type(node, "true or false", "")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Readable for Duration {
    fn read(node: &Node) -> Read<Self> {
        let hint = "write a number and a unit in quotes: \"500 ms\", \"1.5 s\", \"10 min\", \"48 h\"";
        let text = text_of(node, "a duration", hint)?;
        units::duration(text).ok_or_else(|| Complaint::new(format!("{} is not a duration", quoted(text)), hint))
    }

    fn show(&self) -> String {
        toml_text(&units::show_duration(*self))
    }
}

impl Readable for Bytes {
    fn read(node: &Node) -> Read<Self> {
        let hint = "write \"64 KiB\", \"2 MiB\", \"1 GiB\", or a number of bytes";
        if let Value::Integer(..) = node.value {
            return u64::read(node).map(Self);
        }
        let text = text_of(node, "a size", hint)?;
        units::bytes(text).map(Self).ok_or_else(|| Complaint::new(format!("{} is not a size", quoted(text)), hint))
    }

    fn show(&self) -> String {
        if self.0 == 0 { "0".to_owned() } else { toml_text(&units::show_bytes(self.0)) }
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Readable for $integer {
            fn read(node: &Node) -> Read<Self> {
                let (digits, radix) = match &node.value {
                    Value::Integer(digits, radix) => (digits.clone(), *radix),
                    Value::Raw(text) => (text.trim().replace('_', ""), 10),
                    Value::Text(_) => return Err(wrong_type(node, "a whole number", "write it without quotes")),
                    _ => return Err(wrong_type(node, "a whole number", "")),
                };
                let hint = format!("from {} to {}", Self::MIN, Self::MAX);
                let complaint = || Complaint::new(format!("{} is not a whole number in bounds", quoted(&digits)), &hint);
                Self::from_str_radix(&digits, radix).map_err(|_| complaint())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize);

impl Readable for SocketAddr {
    fn read(node: &Node) -> Read<Self> {
        let hint = "write an IP address and a port: \"127.0.0.1:8443\", \"0.0.0.0:443\", \"[::]:443\"";
        let text = text_of(node, "an address", hint)?.trim();
        let complaint = || {
            let nearly = match (text.strip_prefix("localhost:"), text.trim_start_matches([':', '*'])) {
                (Some(port), _) => Some(format!("127.0.0.1:{port}")),
                (None, port) if port.parse::<u16>().is_ok() => Some(format!("0.0.0.0:{port}")),
                _ => None,
            };
            let message = format!("{} is not an address with a port", quoted(text));
            match nearly {
                Some(nearly) => Complaint::new(message, &format!("did you mean \"{nearly}\"?")),
                None => Complaint::new(message, hint),
            }
        };
        text.parse().map_err(|_| complaint())
    }

    fn show(&self) -> String {
        toml_text(&self.to_string())
    }
}

impl Readable for Network {
    fn read(node: &Node) -> Read<Self> {
        let hint = "write \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";
        let text = text_of(node, "an address range", hint)?.trim();
        text.parse().map_err(|_| Complaint::new(format!("{} is not an address range", quoted(text)), hint))
    }

    fn show(&self) -> String {
        toml_text(&self.to_string())
    }
}

impl<T: Readable> Readable for Vec<T> {
    /// A list, or one item alone. From environment and flags the items are parted by commas.
    fn read(node: &Node) -> Read<Self> {
        let items: Vec<Node> = match &node.value {
            Value::List(items) => items.clone(),
            Value::Raw(text) => {
                let item = |part: &str| Node { value: Value::Raw(part.to_owned()), at: node.at.clone() };
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(item).collect()
            }
            _ => vec![node.clone()],
        };
        let mut values = Self::with_capacity(items.len());
        let mut complaints = Vec::new();
        for item in &items {
            match T::read(item) {
                Ok(value) => values.push(value),
                Err(found) => complaints.extend(
                    found.into_iter().map(|one| Complaint { at: one.at.or_else(|| Some(item.at.clone())), ..one }),
                ),
            }
        }
        if complaints.is_empty() { Ok(values) } else { Err(complaints) }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Readable::show).collect::<Vec<_>>().join(", "))
    }
}

/// A value that knows its place, for checks that come later.
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Place,
}

impl<T: Readable> Readable for Placed<T> {
    fn read(node: &Node) -> Read<Self> {
        Ok(Self { value: T::read(node)?, at: node.at.clone() })
    }

    fn show(&self) -> String {
        self.value.show()
    }
}

/// A type whose values are a few words.
pub(super) trait Choice: Sized + Copy + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The value's word.
    fn word(self) -> &'static str;
}

macro_rules! choices {
    ($($type:ty { $($word:literal => $value:path),* $(,)? })*) => {$(
        impl Choice for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),*];

            fn word(self) -> &'static str {
                match self { $($value => $word),* }
            }
        }

        impl Readable for $type {
            fn read(node: &Node) -> Read<Self> {
                read_choice(node)
            }

            fn show(&self) -> String {
                toml_text(self.word())
            }
        }
    )*};
}

fn read_choice<T: Choice>(node: &Node) -> Read<T> {
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    let all = format!("one of: {}", words.join(", "));
    let text = text_of(node, &all, "")?.trim();
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let hint = super::suggest::nearest(text, &words).map_or(all, |near| format!("did you mean \"{near}\"?"));
    Err(Complaint::new(format!("{} is not known here", quoted(text)), &hint))
}

/// How the work is spread over threads, without their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spread {
    PerCore,
    Shared,
}

/// Where notices are kept, without the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Store {
    File,
    Memory,
}

impl Store {
    /// The backend, with its file.
    pub(super) fn backend(self, file: std::path::PathBuf) -> Backend {
        match self {
            Self::File => Backend::File(file),
            Self::Memory => Backend::Memory,
        }
    }
}

choices! {
    Mode { "enforce" => Mode::Enforce, "observe" => Mode::Observe, "off" => Mode::Off }
    Redelivery {
        "any_failure" => Redelivery::AnyFailure,
        "only_unreached" => Redelivery::OnlyUnreached,
        "never" => Redelivery::Never,
    }
    Family {
        "payments" => Family::Payments,
        "checkout" => Family::Checkout,
        "hosted_page" => Family::HostedPage,
        "network" => Family::Network,
    }
    Kind {
        "authorization" => Kind::Authorization,
        "push" => Kind::Push,
        "notification" => Kind::Notification,
        "session_status" => Kind::SessionStatus,
        "webhook" => Kind::Webhook,
        "validation" => Kind::Validation,
        "address_update" => Kind::AddressUpdate,
        "country_change" => Kind::CountryChange,
        "shipping_option_update" => Kind::ShippingOptionUpdate,
        "upsell" => Kind::Upsell,
        "upsell_validation" => Kind::UpsellValidation,
    }
    LogFormat { "json" => LogFormat::Json, "text" => LogFormat::Text }
    Spread { "per_core" => Spread::PerCore, "shared" => Spread::Shared }
    Store { "file" => Store::File, "memory" => Store::Memory }
}
