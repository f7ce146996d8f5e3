//! Tests of storms, in crowds that are small enough for every day.

use super::*;

/// Enough for shares to be those of the documentation's crowds, but for the noise.
const CLIENTS: u32 = 1_500;

fn paced() -> Acceptance {
    Acceptance::Paced { per_second: CLIENTS / 10, queue: CLIENTS / 25 }
}

fn storm(policy: Policy, outage_s: u64, acceptance: Acceptance) -> Storm {
    Storm { clients: CLIENTS, outage: Span::from_secs(outage_s), acceptance, policy, seed: 1 }
}

fn curve(policy: Policy, outage_s: u64, acceptance: Acceptance) -> Curve {
    run(&storm(policy, outage_s, acceptance), |_| {})
}

fn share(count: u32) -> f64 {
    f64::from(count) / f64::from(CLIENTS)
}

#[test]
fn a_storm_is_the_same_in_every_run_and_another_with_another_seed() {
    let storm = storm(Policy::Jitter, 10, paced());
    let curve = run(&storm, |_| {});
    assert_eq!(curve, run(&storm, |_| {}));
    assert_ne!(curve, run(&Storm { seed: 2, ..storm }, |_| {}));
    let sum: u64 = curve.bins().iter().map(|count| u64::from(*count)).sum();
    assert_eq!(sum, curve.attempts());
}

#[test]
fn jitter_spreads_the_first_attempt_over_three_tenths_of_a_second() {
    let curve = curve(Policy::Jitter, 0, Acceptance::AllAtOnce);
    assert!((0.30..0.38).contains(&share(curve.peak())), "{}", curve.peak());
    assert_eq!(curve.peak_up_1s(), CLIENTS, "a whole second sees no difference");
    assert!(curve.bins()[..10].iter().all(|count| *count == 0), "none before the least delay");
}

#[test]
fn doubling_alone_keeps_the_crowd_together() {
    let all_back = |policy| curve(policy, 0, paced()).back_after(100);
    let (doubling, jitter) = (all_back(Policy::Doubling), all_back(Policy::Jitter));
    assert!(doubling > jitter.times(10), "{doubling} and {jitter}");
}

#[test]
fn slots_bring_each_client_back_with_one_attempt_at_the_pace_of_the_server() {
    let slots = Policy::Slots { per_second: CLIENTS / 10 };
    let curve = curve(slots, 0, paced());
    assert_eq!(curve.attempts(), u64::from(CLIENTS));
    assert!(share(curve.peak()) < 0.02, "{}", curve.peak());
    assert!(curve.back_after(100) <= Span::from_millis(11_300), "{}", curve.back_after(100));
}

/// What a row of the page says, and what a run says.
struct Compared<'a> {
    page: &'a [String],
    run: &'a [String],
}

impl Compared<'_> {
    /// Shares differ by the noise of a small crowd, five standard deviations and a tenth.
    fn assert_share(&self, column: usize) {
        let [page, run] = [self.page, self.run].map(|row| number(&row[column]) / 100.0);
        let noise = 0.1 * page + 5.0 * (page / f64::from(CLIENTS)).sqrt();
        assert!((page - run).abs() <= noise, "{:?} is {}", self.page, self.run[column]);
    }

    fn assert_about(&self, page: f64, run: f64) {
        let bound = 0.15 * page + 0.15;
        assert!((page - run).abs() <= bound, "{:?} is {:?}", self.page, self.run);
    }
}

/// The number that a cell begins with.
fn number(cell: &str) -> f64 {
    let end = cell.find([' ', ',']).unwrap_or(cell.len());
    cell[..end].parse().unwrap_or_else(|_| panic!("no number: {cell}"))
}

/// The rows of all tables of the page, cell by cell.
fn rows_of_page() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    page.lines().filter(|line| line.starts_with("| ")).map(cells).collect()
}

/// The page's rows of storms with this outage and policy, of both crowds.
fn storms_of_page<'a>(
    page: &'a [Vec<String>],
    is_at_once: bool,
    outage_and_policy: &[String],
) -> Vec<&'a Vec<String>> {
    let is_meant = |row: &&Vec<String>| {
        row.len() == 10 && row[1..3] == *outage_and_policy && (row[0] == "at once") == is_at_once
    };
    page.iter().filter(is_meant).collect()
}

/// Runs each storm of the documentation in small, and holds the page's rows against it.
fn assert_page_holds(is_meant: fn(&Acceptance) -> bool) {
    let page = rows_of_page();
    for storm in Storm::all(CLIENTS, 7).into_iter().filter(|storm| is_meant(&storm.acceptance)) {
        let run = table::cells(&Row { storm, curve: run(&storm, |_| {}) });
        let rows = storms_of_page(&page, run[0] == "at once", &run[1..3]);
        assert_eq!(rows.len(), 2, "one in each table: {:?}", &run[..3]);
        for page in rows {
            let compared = Compared { page, run: &run };
            [4, 6, 7].into_iter().for_each(|column| compared.assert_share(column));
            compared.assert_about(number(&page[8]), number(&run[8]));
            for place in 0..2 {
                let [said, seen] = [page, &run[..]].map(|row| {
                    let part = row[9].split(", ").nth(place).expect("half and all");
                    number(part)
                });
                compared.assert_about(said, seen);
            }
        }
    }
}

#[test]
fn the_page_is_true_of_a_server_that_takes_all_at_once() {
    assert_page_holds(|acceptance| *acceptance == Acceptance::AllAtOnce);
}

#[test]
fn the_page_is_true_of_a_paced_server() {
    assert_page_holds(|acceptance| matches!(acceptance, Acceptance::Paced { .. }));
}

#[test]
fn the_savings_of_the_page_follow_from_its_tables() {
    let page = rows_of_page();
    let savings: Vec<_> =
        page.iter().filter(|row| row.len() == 3 && row[1].ends_with("lower")).collect();
    assert_eq!(savings.len(), 3, "one for each outage");
    for row in savings {
        let peak = |policy: &str| -> f64 {
            let wanted = [row[0].clone(), policy.to_owned()];
            let storms = storms_of_page(&page, true, &wanted);
            storms[0][5].replace(',', "").parse().expect("a number of attempts")
        };
        let lower = |other: &str| {
            format!("{:.0} % lower", 100.0 * (1.0 - peak("doubling, jitter") / peak(other)))
        };
        assert_eq!(row[1..], [lower("doubling"), lower("fixed")], "down {}", row[0]);
    }
}
