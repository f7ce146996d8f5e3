//! What a batch owes in records: everything that happened is recorded once, and nothing else is.

use std::collections::BTreeMap;

/// What happened and what was recorded, by its name.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<&'static str, (u64, u64)>,
}

impl Ledger {
    /// Something happened that has to be recorded.
    pub(super) fn owe(&mut self, what: &'static str, count: u64) {
        self.accounts.entry(what).or_default().0 += count;
    }

    /// Something was recorded.
    pub(super) fn pay(&mut self, what: &'static str, count: u64) {
        self.accounts.entry(what).or_default().1 += count;
    }

    /// The batch is over: what does not agree, if anything.
    pub(super) fn settle(&mut self) -> Option<String> {
        if self.accounts.is_empty() {
            return None;
        }
        let mut accounts = std::mem::take(&mut self.accounts).into_iter();
        let (what, (happened, recorded)) = accounts.find(|(_, (owed, paid))| owed != paid)?;
        Some(format!("{what}: there were {happened}, and {recorded} are recorded"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_and_what_is_recorded_must_agree() {
        let mut ledger = Ledger::default();
        ledger.owe("deaths", 2);
        ledger.pay("deaths", 2);
        assert_eq!(ledger.settle(), None);
        ledger.owe("deaths", 2);
        ledger.pay("deaths", 1);
        let expect = "deaths: there were 2, and 1 are recorded";
        assert_eq!(ledger.settle().as_deref(), Some(expect));
        assert_eq!(ledger.settle(), None, "a new batch begins");
    }
}
