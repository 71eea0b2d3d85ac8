//! Every alarm has a section of the runbooks, and every section an alarm.

use std::fs;

#[test]
fn every_alarm_leads_to_its_section_of_the_runbooks_and_no_section_is_left_over() {
    let rules = fs::read_to_string("deploy/prometheus/alerts.yml").unwrap();
    let alarms: Vec<_> = rules.split("- alert: ").skip(1).collect();
    let runbooks = fs::read_to_string("docs/runbooks.md").unwrap();
    let sections: Vec<_> = runbooks.split("\n## ").skip(1).collect();

    let names: Vec<_> = alarms.iter().map(|alarm| alarm.lines().next().unwrap()).collect();
    let titles: Vec<_> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(titles, names, "the sections stand in the order of the alarms");
    for (alarm, name) in alarms.iter().zip(names) {
        let leads_to = format!("runbook: docs/runbooks.md#{}", name.to_lowercase());
        assert!(alarm.lines().any(|line| line.trim() == leads_to), "{name} does not lead to its section");
    }
    for (alarm, section) in alarms.iter().zip(sections) {
        let severity =
            ["page", "ticket"].into_iter().find(|sort| alarm.contains(&format!("severity: {sort}"))).unwrap();
        let (title, text) = section.split_once("\n\n").unwrap();
        assert!(text.starts_with(&format!("**{severity}.** ")), "{title} does not say that it is a {severity}");
    }
}
