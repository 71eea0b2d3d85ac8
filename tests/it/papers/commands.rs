//! Every command of the papers is run: here, or where the table below says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::operate::{Afternoon, said};
use crate::support::process::Process;
use crate::support::world::HOST;

/// What is not run here, and who runs it; beside it the hand-over to a successor, which `restart.rs` plays.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo ", ".ci/run, tests/packages/run"),
    ("deploy/", ".ci/run, tests/packages/run"),
    ("dpkg ", "tests/packages/run"),
    ("install ", "tests/packages/run does the same with the package"),
    ("kubectl ", "deploy/kubernetes/check, as far as that goes without a cluster"),
    ("mv ", "tests/packages/run"),
    ("psql ", "the view is read by the tests of ledger::postgres"),
    ("sqlite3 ", "the view is read by the tests of ledger::sqlite"),
    ("ssh ", "needs another machine"),
    ("systemctl ", "tests/packages/run"),
    ("tests/", ".ci/run"),
    ("useradd ", "tests/packages/run does the same with the package"),
];

#[tokio::test]
async fn every_command_of_the_papers_does_what_it_says() {
    let desk = Desk::prepare().await;
    let (mut run, mut elsewhere) = (0, 0);
    for (paper, line) in papers().iter().flat_map(|paper| commands(paper)) {
        let is_hand_over = line.contains("--take-over");
        if is_hand_over || ELSEWHERE.iter().any(|(start, _)| line.starts_with(start)) {
            elsewhere += 1;
            continue;
        }
        desk.does(&paper, &line).await;
        run += 1;
    }
    assert!(run > 35 && elsewhere > 10, "{run} run here, {elsewhere} elsewhere");
    let exported = fs::read_to_string(desk.afternoon.site.path("desk/callbacks.jsonl")).unwrap();
    assert!(exported.lines().count() >= 4, "{exported}");
}

/// A gateway with some callbacks behind it, and a folder that stands for the machine of the papers.
struct Desk {
    afternoon: Afternoon,
}

impl Desk {
    async fn prepare() -> Self {
        let afternoon = Afternoon::passes().await;
        let site = &afternoon.site;
        for folder in ["etc/bash_completion.d", "share/man/man1", "desk"] {
            fs::create_dir_all(site.path(folder)).unwrap();
        }
        site.authority.signs(&[HOST]).write(&site.path("etc"), "shop");
        fs::rename(site.path("etc/shop.pem"), site.path("etc/shop.crt")).unwrap();
        site.authority.write(&site.path("desk"));
        // The config as the running gateway's operator has it, and another one for what is started beside it.
        let config = fs::read_to_string(site.config()).unwrap();
        let (address, admin) = (afternoon.kallback.address.to_string(), afternoon.kallback.admin.to_string());
        let known = config.replacen("127.0.0.1:0", &address, 1).replacen("127.0.0.1:0", &admin, 1);
        fs::write(site.path("known.toml"), known).unwrap();
        fs::write(site.path("beside.toml"), config.replace("kallback.db", "beside.db")).unwrap();
        Self { afternoon }
    }

    async fn does(&self, paper: &Path, line: &str) {
        let paper = paper.display();
        let line = self.here(line);
        let mut shell = self.shell(&line);
        if line.starts_with("kallback run ") {
            Process::start(shell).await.kill().await;
            return;
        }
        let said = said(&mut shell).await;
        let fits = match line.split_whitespace().take(2).last() {
            // Without a terminal there is nobody to ask, and it says which flags are missing.
            Some("init") if !line.contains("--shop") => said.code == 2 && said.err.contains("--shop"),
            // They judge what they look at; here that is a shop behind a firewall, and a URL without a token.
            Some("doctor" | "explain") => said.code <= 1 && !said.out.is_empty(),
            // The paper leaves out most of the token.
            Some("token") if line.contains('…') => said.code == 1 && said.err.contains("64 lower-case hex"),
            _ => said.code == 0,
        };
        assert!(fits, "{paper}: {line}\n{}{}{}", said.code, said.out, said.err);
    }

    /// The line with this machine's places and ports.
    fn here(&self, line: &str) -> String {
        let site = &self.afternoon.site;
        let (address, admin) = (self.afternoon.kallback.address, self.afternoon.kallback.admin.to_string());
        let config = if line.starts_with("kallback run ") { "beside.toml" } else { "known.toml" };
        let config = site.path(config).display().to_string();
        let way = format!("https://{HOST}:{} --connect-to {address} --ca authority.pem ", address.port());
        let mut line = line
            .replace("/etc/kallback/kallback.toml", &config)
            .replace("--config kallback.toml", &format!("--config {config}"))
            .replace("/etc/kallback", &site.path("etc").display().to_string())
            .replace("/etc/bash_completion.d", &site.path("etc/bash_completion.d").display().to_string())
            .replace("/usr/local/share", &site.path("share").display().to_string())
            .replace("127.0.0.1:9090", &admin);
        if line.starts_with("kallback run --config trial") {
            line.push_str(" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
        }
        for command in ["kallback doctor ", "kallback trigger "] {
            if line.starts_with(command) && !line.contains("--connect-to") {
                line = line.replace(&format!("https://{HOST} "), &way);
            }
        }
        line
    }

    fn shell(&self, line: &str) -> Command {
        let folder = Path::new(env!("CARGO_BIN_EXE_kallback")).parent().unwrap().to_str().unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", format!("{folder}:/usr/bin:/bin"));
        shell.current_dir(self.afternoon.site.path("desk"));
        if line.contains(" token ") || line.contains(" callbacks ") || line.contains(" top ") {
            shell.env("KALLBACK_CONFIG", self.afternoon.site.path("known.toml"));
        }
        let starts = if line.starts_with("kallback run ") { format!("exec {line}") } else { line.to_owned() };
        shell.stdin(Stdio::null()).kill_on_drop(true).args(["-c", &starts]);
        shell
    }
}

/// The README and everything in `docs`.
fn papers() -> Vec<PathBuf> {
    let mut papers: Vec<PathBuf> =
        fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    papers.push("README.md".into());
    papers.sort();
    papers
}

/// What stands in the blocks for a shell, continued lines put together.
fn commands(paper: &Path) -> Vec<(PathBuf, String)> {
    let text = fs::read_to_string(paper).unwrap();
    let shell = text.split("```sh\n").skip(1).map(|rest| (rest, false));
    let console = text.split("```console\n").skip(1).map(|rest| (rest, true));
    let mut found = Vec::new();
    for (rest, prompts) in shell.chain(console) {
        let block = rest.split("```").next().unwrap().replace("\\\n", " ");
        let lines = block.lines().filter_map(|line| if prompts { line.strip_prefix("$ ") } else { Some(line) });
        found.extend(lines.filter(|line| !line.trim().is_empty()).map(|line| (paper.to_owned(), line.to_owned())));
    }
    found
}
