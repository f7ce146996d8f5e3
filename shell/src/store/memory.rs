//! The volatile store: the reference model itself, in the event loop's own thread.
//!
//! What it holds is gone when the process ends. It is for trying things out and for tests.

use super::Backend;
use bytes::Bytes;
use steadfast_core::id::OpId;
use steadfast_core::store::model::Model;
use steadfast_core::store::{Answer, Op, Promise};

/// Storage that ends with the process.
#[derive(Debug)]
pub struct Memory {
    model: Model,
    answers: Vec<(OpId, Answer)>,
}

impl Memory {
    /// An empty store. The seed protects its tables against chosen keys.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { model: Model::new(seed), answers: Vec::new() }
    }
}

impl Backend for Memory {
    fn submit(&mut self, op: OpId, mut request: Op) {
        if let Op::Append(append) = &mut request
            && append.promise == Promise::Queued
        {
            // It will wait, and must not keep what it was read with alive.
            append.payload = Bytes::copy_from_slice(&append.payload);
        }
        self.answers.push((op, self.model.apply(request)));
    }

    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>) {
        answers.append(&mut self.answers);
    }
}
