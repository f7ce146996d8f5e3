//! The simulated world against the real daemon: one scenario, played in both, and what every peer
//! sent and received compared line by line.
//!
//! Whatever the simulation shows of the protocol holds for the daemon as far as this scenario goes.
//! Pings are left out, since when one is sent depends on time.

mod support;

#[path = "contract/daemon.rs"]
mod daemon;
#[path = "contract/scenario.rs"]
mod scenario;
#[path = "contract/simulated.rs"]
mod simulated;

use scenario::{Act, Transcript, acts};

#[test]
fn the_daemon_does_what_the_simulated_gateway_does() {
    let acts = acts();
    let simulated = simulated::play(&acts);
    let real = daemon::play(&acts, &simulated);
    let differences = differences(&acts, &simulated, &real);
    assert!(differences.is_empty(), "they differ:\n{differences}");
}

/// The acts in which somebody saw something else, both ways.
fn differences(acts: &[Act], simulated: &[Transcript], real: &[Transcript]) -> String {
    let mut text = String::new();
    for (act, (simulated, real)) in acts.iter().zip(simulated.iter().zip(real)) {
        if simulated != real {
            text.push_str(&format!("# {}\n", act.title));
            text.push_str(&format!("  in the simulation:\n{}", shown(simulated)));
            text.push_str(&format!("  with the daemon:\n{}", shown(real)));
        }
    }
    text
}

fn shown(transcript: &Transcript) -> String {
    let lines =
        transcript.iter().flat_map(|(who, lines)| lines.iter().map(move |line| (who, line)));
    lines.map(|(who, line)| format!("    {who:<10} {line}\n")).collect()
}

#[test]
fn a_difference_is_shown_with_its_act() {
    let acts = [Act::new("the phone connects", scenario::Step::Connect("phone"))];
    let one = Transcript::from([("phone", vec!["→ 77".to_owned(), "← biubiubiu".to_owned()])]);
    let (one, other) = ([one], [Transcript::from([("phone", vec!["→ 77".to_owned()])])]);
    assert_eq!(differences(&acts, &one, &one), "");
    let text = differences(&acts, &one, &other);
    let expect = "# the phone connects\n  in the simulation:\n    phone      → 77\n    \
        phone      ← biubiubiu\n  with the daemon:\n    phone      → 77\n";
    assert_eq!(text, expect);
}
