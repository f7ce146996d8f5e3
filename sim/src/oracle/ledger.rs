//! What a batch owes in records: everything that happened is recorded once, and nothing else is.

/// What happened and what was recorded, by its name. A batch is about few things.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: Vec<Account>,
}

/// One thing: its name, how often it happened, and how often it was recorded.
type Account = (&'static str, u64, u64);

impl Ledger {
    /// Something happened that has to be recorded.
    pub(super) fn owe(&mut self, what: &'static str, count: u64) {
        self.account(what).1 += count;
    }

    /// Something was recorded.
    pub(super) fn pay(&mut self, what: &'static str, count: u64) {
        self.account(what).2 += count;
    }

    fn account(&mut self, what: &'static str) -> &mut Account {
        let known = self.accounts.iter().position(|(name, ..)| *name == what);
        let index = known.unwrap_or_else(|| {
            self.accounts.push((what, 0, 0));
            self.accounts.len() - 1
        });
        &mut self.accounts[index]
    }

    /// The batch is over: what does not agree, if anything.
    pub(super) fn settle(&mut self) -> Option<String> {
        let wrong = self.accounts.iter().find(|(_, owed, paid)| owed != paid);
        let text = wrong.map(|(what, happened, recorded)| {
            format!("{what}: there were {happened}, and {recorded} are recorded")
        });
        self.accounts.clear();
        text
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
