use super::*;
use crate::node::stage::{NEAR, OTHER, REGISTRY, Stage};
use crate::wire::Cause;

fn report(number: u32, text: &str) -> Report<'_> {
    let addresses = &[0x10, 0, 1, 2];
    Report::new(number, Cause::Panic, 0, 1234, addresses, text).unwrap()
}

fn told(reports: &mut Reports) -> Option<(NodeId, u32)> {
    let (node, report) = reports.poll_news()?;
    Some((node, report.number))
}

#[test]
fn a_report_goes_to_the_registry_with_four_hellos() {
    let mut stage = Stage::new();
    let mut reports = Reports::new(false);
    reports.handle_hello(&mut stage.post(), Some(REGISTRY));
    assert!(stage.is_quiet(), "there is nothing to report");
    let own = report(7, "index out of bounds");
    reports.set_own(&own);
    assert!(stage.is_quiet(), "no neighbour knows this node yet");
    for _ in 0..4 {
        reports.handle_hello(&mut stage.post(), Some(REGISTRY));
        assert_eq!(stage.message(), Some((REGISTRY, Message::Report(own))));
    }
    reports.handle_hello(&mut stage.post(), Some(REGISTRY));
    assert!(stage.is_quiet());
    assert!(!reports.has_news(), "its own is no news to it");
}

#[test]
fn the_last_report_that_was_given_is_the_one_that_goes() {
    let mut stage = Stage::new();
    let mut reports = Reports::new(false);
    reports.set_own(&report(7, "a text that is longer than the next"));
    reports.set_own(&report(8, "short"));
    reports.handle_hello(&mut stage.post(), Some(REGISTRY));
    let sent = Message::Report(report(8, "short"));
    assert_eq!(stage.message(), Some((REGISTRY, sent)));
}

#[test]
fn a_node_without_a_registry_reports_to_nobody() {
    let mut stage = Stage::new();
    let mut reports = Reports::new(false);
    reports.set_own(&report(7, "lost"));
    reports.handle_hello(&mut stage.post(), None);
    assert!(stage.is_quiet());
}

#[test]
fn a_registry_does_not_report_and_other_nodes_are_told_nothing() {
    let mut stage = Stage::new();
    let mut registry = Reports::new(true);
    registry.set_own(&report(7, "lost"));
    registry.handle_hello(&mut stage.post(), Some(REGISTRY));
    assert!(stage.is_quiet());
    let mut other = Reports::new(false);
    other.handle_report(NEAR, &report(7, "lost"));
    assert!(!other.has_news());
}

#[test]
fn each_report_is_told_once_however_often_it_comes() {
    let mut reports = Reports::new(true);
    for _ in 0..4 {
        reports.handle_report(NEAR, &report(7, "lost"));
    }
    assert!(reports.has_news());
    let (from, heard) = reports.poll_news().unwrap();
    assert_eq!((from, heard), (NEAR, report(7, "lost")));
    reports.handle_report(NEAR, &report(7, "lost"));
    assert!(!reports.has_news() && reports.poll_news().is_none());
    // The next crash of this node and a crash of another node are other reports.
    reports.handle_report(NEAR, &report(8, "lost"));
    assert_eq!(told(&mut reports), Some((NEAR, 8)));
    reports.handle_report(OTHER, &report(7, "lost"));
    assert_eq!(told(&mut reports), Some((OTHER, 7)));
}

#[test]
fn the_sixteen_reports_heard_last_are_remembered() {
    let mut reports = Reports::new(true);
    let capacity = reports.remembered.capacity();
    for number in 0..17 {
        reports.handle_report(NEAR, &report(number, "lost"));
        assert_eq!(told(&mut reports), Some((NEAR, number)));
    }
    reports.handle_report(NEAR, &report(1, "lost"));
    assert_eq!(told(&mut reports), None);
    reports.handle_report(NEAR, &report(0, "lost"));
    assert_eq!(told(&mut reports), Some((NEAR, 0)));
    assert_eq!(reports.remembered.capacity(), capacity);
}

#[test]
fn the_longest_report_fits() {
    let mut reports = Reports::new(true);
    let text = "x".repeat(crate::wire::REPORT_TEXT_BYTES);
    let addresses = [1; 4 * crate::wire::REPORT_ADDRESSES];
    let longest = Report::new(1, Cause::Fault, 1, u32::MAX, &addresses, &text).unwrap();
    reports.handle_report(NEAR, &longest);
    assert_eq!(reports.poll_news(), Some((NEAR, longest)));
}
