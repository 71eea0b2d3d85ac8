//! `kallback token mint` and `kallback token inspect`: tokens by hand, with the keys of the config.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use thiserror::Error;

use crate::clock::{Clock, UnixMillis};
use crate::event::Family;
use crate::token::{self, Cut, Found, Guard, NotAToken, NotMinted, Refusal, Settings, Ticket, Token};

/// `kallback token …`
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make the token of a shop session, and put it into a callback URL if there is one.
    Mint(Mint),
    /// Say what is in a token, and whether it is good.
    Inspect(Inspect),
}

/// `kallback token mint …`
#[derive(Clone, Debug, Args)]
pub struct Mint {
    /// The API whose URLs the token is for: payments, checkout, hosted_page or network.
    #[arg(long, value_parser = family)]
    pub family: Family,
    /// The shop session (or cart, or order). The same text always gives the same token.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub session: String,
    /// How long it is good for at least; it ends at the midnight UTC after that.
    #[arg(long, default_value = "72h", value_parser = time_to_live)]
    pub ttl: Duration,
    /// Print this callback URL with the token instead of the token alone. Placeholders stay as they are.
    #[arg(long)]
    pub url: Option<String>,
}

/// `kallback token inspect …`
#[derive(Clone, Debug, Args)]
pub struct Inspect {
    /// The token, or a URL that has one.
    #[arg(value_name = "TOKEN|URL")]
    pub subject: String,
}

/// Why there is nothing to print.
#[derive(Debug, Error)]
pub enum TokenFault {
    /// No token for the URL, or none at all.
    #[error(transparent)]
    NotMinted(#[from] NotMinted),
    /// What was given is no token.
    #[error(transparent)]
    NotAToken(#[from] NotAToken),
    /// The URL has none, or too many.
    #[error("the URL has {0} parameter `{1}`")]
    Url(&'static str, String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs the command. The exit code is 1 if an inspected token would be refused.
pub fn run(
    command: &TokenCommand,
    settings: &Settings,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<ExitCode, TokenFault> {
    let guard = Guard::new(settings.clone());
    match command {
        TokenCommand::Mint(mint) => mint.run(&guard, clock.now(), out),
        TokenCommand::Inspect(inspect) => inspect.run(&guard, &settings.parameter, clock.now(), out),
    }
}

impl Mint {
    fn run(&self, guard: &Guard, now: UnixMillis, out: &mut dyn Write) -> Result<ExitCode, TokenFault> {
        let expires_at = token::expiry_for(now, self.ttl);
        let ticket = Ticket { family: self.family, session: self.session.as_bytes(), expires_at };
        let minted = match &self.url {
            Some(url) => guard.mint_into(url, &ticket, now)?,
            None => guard.mint(&ticket).ok_or(NotMinted::NoKey)?,
        };
        writeln!(out, "{minted}")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Inspect {
    fn run(
        &self,
        guard: &Guard,
        parameter: &str,
        now: UnixMillis,
        out: &mut dyn Write,
    ) -> Result<ExitCode, TokenFault> {
        let text = self.token_text(parameter)?;
        let token = Token::read(text)?;
        // Every route asks for its own family; this asks for the one that the token names.
        let verdict = guard.verify(text, token.family, now);
        writeln!(out, "version  {}", token::VERSION)?;
        writeln!(out, "family   {}", token.family.name())?;
        writeln!(out, "key      {}", token.key_id)?;
        writeln!(out, "expires  {}", rfc_3339(token.expires_at()))?;
        writeln!(out, "code     {}", matching_key(guard.maker(&token)))?;
        match verdict {
            Ok(_) => {
                writeln!(out, "verdict  good on routes of its family")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                writeln!(out, "verdict  refused: {refusal}{}", hint(refusal))?;
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn token_text(&self, parameter: &str) -> Result<&str, TokenFault> {
        let target = self.subject.split('#').next().unwrap_or_default();
        if !target.contains(['/', '?', '=']) {
            return Ok(target);
        }
        let Cut { found, .. } = token::cut(target, parameter);
        match found {
            Found::Once(text) => Ok(text),
            Found::Nothing => Err(TokenFault::Url("no", parameter.to_owned())),
            Found::Repeated => Err(TokenFault::Url("more than one", parameter.to_owned())),
        }
    }
}

fn matching_key(maker: Option<u8>) -> String {
    match maker {
        Some(id) => format!("made with key {id}"),
        None => "not made with any key of this config".to_owned(),
    }
}

fn hint(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownKey => " (no key of this config has that id)",
        Refusal::Forged => " (the code is not the one that the key of that id makes)",
        _ => "",
    }
}

/// Tokens expire at whole seconds, so there are none behind the point.
fn rfc_3339(at: UnixMillis) -> String {
    jiff::Timestamp::from_second(at.seconds()).map_or_else(|_| at.to_string(), |at| at.to_string())
}

fn family(name: &str) -> Result<Family, String> {
    Family::ALL.into_iter().find(|family| family.name() == name).ok_or_else(|| {
        let names = Family::ALL.map(Family::name).join(", ");
        format!("one of {names} is expected")
    })
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    let ttl = parser.parse_unsigned_duration(text).map_err(|why| why.to_string())?;
    if ttl.as_secs() == 0 || ttl > token::TTL_MAX {
        return Err(format!(
            "a token is good for at least 1 second and at most {} hours",
            token::TTL_MAX.as_secs() / 3600
        ));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Key;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: TokenCommand,
    }

    fn settings(keys: &[u8]) -> Settings {
        Settings {
            parameter: "kallback".into(),
            keys: keys.iter().map(|id| Key { id: *id, secret: vec![0xa5; 32].into() }).collect(),
            signing_keys: Vec::new(),
            sessions_per_token: 4,
        }
    }

    fn parse(words: &[&str]) -> Result<TokenCommand, clap::Error> {
        Ok(Line::try_parse_from([&["token"], words].concat())?.command)
    }

    async fn told(keys: &[u8], words: &[&str]) -> Result<(ExitCode, String), TokenFault> {
        let clock = Clock::simulated(UnixMillis(1_763_700_000_000));
        let mut out = Vec::new();
        let code = run(&parse(words).unwrap(), &settings(keys), &clock, &mut out)?;
        Ok((code, String::from_utf8(out).unwrap()))
    }

    async fn printed(keys: &[u8], words: &[&str]) -> String {
        told(keys, words).await.unwrap().1.trim_end().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_minted_token_is_inspected_as_good() {
        let token = printed(&[7], &["mint", "--family", "payments", "--session", "s"]).await;
        let (code, text) = told(&[7], &["inspect", &token]).await.unwrap();
        assert_eq!(code, ExitCode::SUCCESS);
        let lines = [
            "version  1",
            "family   payments",
            "key      7",
            "expires  2025-11-25T00:00:00Z",
            "code     made with key 7",
            "verdict  good on routes of its family",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }

    #[tokio::test(start_paused = true)]
    async fn a_url_gets_its_token_and_is_inspected_by_it() {
        let url = "https://shop.example/kco/{checkout.order.id}?a=1#f";
        let mint = ["mint", "--family", "checkout", "--session", "s", "--url", url];
        let with_token = printed(&[7], &mint).await;
        assert!(with_token.starts_with("https://shop.example/kco/{checkout.order.id}?a=1&kallback=12"));
        assert!(with_token.ends_with("#f"));
        assert!(printed(&[7], &["inspect", &with_token]).await.contains("family   checkout"));

        let fault = told(&[7], &["inspect", url]).await.unwrap_err();
        assert_eq!(fault.to_string(), "the URL has no parameter `kallback`");
        let twice = told(&[7], &["inspect", "/p?kallback=a&kallback=b"]).await.unwrap_err();
        assert_eq!(twice.to_string(), "the URL has more than one parameter `kallback`");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_would_be_refused_fails_and_says_why() {
        let token = printed(&[7], &["mint", "--family", "payments", "--session", "s", "--ttl", "1h"]).await;
        let unknown = told(&[8, 9], &["inspect", &token]).await.unwrap();
        assert_eq!(unknown.0, ExitCode::FAILURE);
        // The keys of this test have one secret, so that the code can be known while the id is not.
        assert!(unknown.1.contains("code     made with key 8\nverdict  refused: unknown_key"), "{}", unknown.1);

        let forged = format!("{}{}", &token[..62], if token.ends_with("00") { "01" } else { "00" });
        let forged = printed(&[7], &["inspect", &forged]).await;
        assert!(forged.contains("code     not made with any key of this config\nverdict  refused: forged"), "{forged}");

        let upper = told(&[7], &["inspect", &token.to_uppercase()]).await.unwrap_err();
        assert_eq!(upper.to_string(), "a token is 64 lower-case hex characters");
        assert!(matches!(
            told(&[], &["mint", "--family", "payments", "--session", "s"]).await,
            Err(TokenFault::NotMinted(NotMinted::NoKey))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn no_output_has_a_key_in_it() {
        let token = printed(&[7], &["mint", "--family", "payments", "--session", "s"]).await;
        let text = printed(&[7], &["inspect", &token]).await;
        assert!(!text.contains("a5a5") && !text.contains(&token[32..]));
    }

    #[test]
    fn an_empty_session_an_unknown_family_and_a_wild_ttl_are_faults_of_the_line() {
        let line = |family, session, ttl| parse(&["mint", "--family", family, "--session", session, "--ttl", ttl]);
        assert!(line("payments", "s", "720h").is_ok());
        for (family, session, ttl) in
            [("payments", "", "72h"), ("Payments", "s", "72h"), ("payments", "s", "0s"), ("payments", "s", "721h")]
        {
            assert!(line(family, session, ttl).is_err(), "{family} {session} {ttl}");
        }
    }
}
