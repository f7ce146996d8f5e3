//! The meaning of every storage operation, as a pure in-memory model.
