//! What the papers show must work.

mod commands;
mod runbooks;

use kallback::config::{FileText, Sources, load};

#[test]
fn the_readmes_ten_lines_of_config_lack_nothing_but_the_files_they_name() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let config = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(config.lines().filter(|line| line.contains('=')).count() <= 10);
    let file = FileText { path: "/nowhere/kallback.toml".into(), text: config.to_owned() };
    let faults = load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err();
    let mut options: Vec<_> = faults.findings().iter().map(|fault| fault.option.as_str()).collect();
    options.sort_unstable();
    assert_eq!(options, ["tls.certificates[].certificate", "tls.certificates[].key", "token.key_file"], "{faults}");
}

#[test]
fn every_link_of_the_papers_leads_somewhere() {
    let papers = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let papers = papers.chain(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(Into::into));
    for paper in papers.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&paper).unwrap();
        let folder = paper.parent().unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let leads_out = target.is_empty() || target.contains("://");
            assert!(leads_out || folder.join(target).exists(), "{}: {target}", paper.display());
        }
    }
}
