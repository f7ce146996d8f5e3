//! One record of every kind, for tests.
