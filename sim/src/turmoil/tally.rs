//! How often each fault was delivered in a world.

use crate::schedule::Delivered;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A count that all hosts of a world share.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Rc<RefCell<BTreeMap<Delivered, u64>>>);

impl Tally {
    pub(super) fn count(&self, fault: Delivered) {
        *self.0.borrow_mut().entry(fault).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<Delivered, u64> {
        self.0.borrow().clone()
    }
}
